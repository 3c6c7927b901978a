"""Writing an activation store shard by shard, so that nothing finished is lost."""

import json
import shutil
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int8, Int32, Int64

from models_under_pressure.activations.ragged import THINKING, TOOL
from models_under_pressure.activations.store import FORMAT, FORMAT_VERSIONS, MANIFEST, is_store_file, partial_path, zarr
from models_under_pressure.core.errors import UserError, disk_error
from models_under_pressure.core.files import file_hash, read_json, write_json

_JOURNAL = "journal.jsonl"
_SHARD_BYTES = 1 << 26
"""64 MiB: few files, each small enough to be uploaded in one part."""
_POOLED_SHARD_ROWS = 1024
_CHUNK_BYTES = 1 << 19
"""Unit of decompression: what reading one token costs."""


@dataclass(frozen=True, eq=False)
class Layout:
    """Everything about a store but its activations."""

    attributes: Mapping[str, Any]
    ids: Sequence[str]
    offsets: Int64[np.ndarray, "records_plus_1"]
    token_ids: Int32[np.ndarray, "tokens"]
    roles: Int8[np.ndarray, "tokens"]
    hidden: int
    dtype: np.dtype[Any]
    """uint16 for bfloat16 bits, or float32."""

    @property
    def rows(self) -> int:
        """Rows of the store: tokens, or records if they are pooled."""
        return int(self.offsets[-1])

    @property
    def format_version(self) -> float:
        """The oldest version of the format that has the store's roles."""
        return FORMAT_VERSIONS[bool(np.isin(self.roles, [TOOL, THINKING]).any())]

    @property
    def shard_rows(self) -> int:
        """Rows of one file: a power of two."""
        if self.attributes.get("keep", "tokens") != "tokens":
            return _POOLED_SHARD_ROWS  # pooled stores are small, and their shards are the steps of a resumable run
        return 1 << ((_SHARD_BYTES // (self.dtype.itemsize * self.hidden)).bit_length() - 1)

    @property
    def shards(self) -> int:
        """Number of files that hold activations."""
        return -(-self.rows // self.shard_rows)

    def span(self, shard: int) -> tuple[int, int]:
        """First row of a shard, and the one after its last."""
        return shard * self.shard_rows, min(self.rows, (shard + 1) * self.shard_rows)


class StoreWriter:
    """A store that grows at `<path>.partial` and takes its name when it is whole.

    Shards may be written in any order and by several processes; each is journalled with its checksum, so that an
    interrupted run finds those that are whole. Equal values give equal bytes.
    """

    def __init__(self, path: Path, layout: Layout) -> None:
        self.path, self.layout = path, layout
        self._partial = partial_path(path)
        self._checksums: dict[int, str] = {}
        with _explained(self._partial):
            if not self._resume():
                shutil.rmtree(self._partial, ignore_errors=True)
                _create(self._partial, layout)
                self._checksums = {}
        self.resumed = bool(self._checksums)
        """Whether shards of an interrupted run were found whole."""

    @property
    def missing(self) -> list[int]:
        """Shards that are still to be written."""
        return [shard for shard in range(self.layout.shards) if self.needs(shard)]

    def needs(self, shard: int) -> bool:
        """Whether a shard is still to be written."""
        return shard not in self._checksums

    def write(self, shard: int, values: np.ndarray) -> None:
        """Write one whole shard.

        Raises:
            UserError: the disk is full or read-only; the shards before stay.
        """
        with _explained(self._partial):
            self.record(shard, write_shard(self.path, shard, self.layout.span(shard), values))

    def record(self, shard: int, checksum: str) -> None:
        """Journal a shard that is on disk."""
        with (self._partial / _JOURNAL).open("a", encoding="utf-8") as journal:
            journal.write(json.dumps([shard, checksum]) + "\n")
        self._checksums[shard] = checksum

    def finish(self) -> None:
        """Write the manifest and give the store its name, in place of an older one."""
        if self.missing:
            raise ValueError(f"{len(self.missing)} shards are missing")
        with _explained(self._partial):
            write_json(self._partial / MANIFEST, {"files": dict(sorted(self._manifest()))})
            (self._partial / _JOURNAL).unlink(missing_ok=True)
            shutil.rmtree(self.path, ignore_errors=True)
            self._partial.rename(self.path)

    def _manifest(self) -> Iterator[tuple[str, Any]]:
        known = {_shard_file(self._partial, shard): checksum for shard, checksum in self._checksums.items()}
        for file in self._partial.rglob("*"):
            if file.is_file() and is_store_file(file.relative_to(self._partial)):
                checksum = known.get(file) or file_hash(file)
                yield str(file.relative_to(self._partial)), {"bytes": file.stat().st_size, "sha256": checksum}

    def _resume(self) -> bool:
        """Take over an unfinished store of the same provenance; its shards are compared with their checksums."""
        if not any((self._partial / name).exists() for name in (_JOURNAL, MANIFEST)):
            return False
        group = zarr().open_group(self._partial, mode="r", zarr_format=3)
        if dict(group.attrs) != _attributes(self.layout) or group["activations"].dtype != self.layout.dtype:
            return False
        for unfinished in self._partial.rglob("*.partial"):
            unfinished.unlink()  # of a shard that was being written when the run was killed
        for shard, checksum in self._journalled():
            file = _shard_file(self._partial, shard)
            if file.exists() and file_hash(file) == checksum:
                self._checksums[shard] = checksum
        if (journal := self._partial / _JOURNAL).exists():
            with journal.open("a", encoding="utf-8") as lines:
                lines.write("\n")  # or the half line of a run that was killed would swallow the next one
        return True

    def _journalled(self) -> Iterator[tuple[int, str]]:
        journal = self._partial / _JOURNAL
        if not journal.exists():  # stopped between the manifest and the name
            files = read_json(self._partial / MANIFEST)["files"]
            for shard in range(self.layout.shards):
                name = str(_shard_file(self._partial, shard).relative_to(self._partial))
                yield shard, files[name]["sha256"]
            return
        for line in journal.read_text("utf-8").splitlines():
            try:
                shard, checksum = json.loads(line)
            except ValueError:
                continue  # the last line of a run that was killed
            yield shard, checksum


def write_shard(path: Path, shard: int, span: tuple[int, int], values: np.ndarray) -> str:
    """Write one shard of the store that grows for `path`, from any process, and return its checksum."""
    partial = partial_path(path)
    with zarr().config.set({"array.write_empty_chunks": True}):  # what an array is opened with, zarr leaves out
        array = zarr().open_array(partial / "activations", mode="r+", zarr_format=3)
    array[span[0] : span[1]] = values
    return file_hash(_shard_file(partial, shard))


def _shard_file(root: Path, shard: int) -> Path:
    return root / "activations" / "c" / str(shard) / "0"


def _attributes(layout: Layout) -> dict[str, Any]:
    attributes = {"format": FORMAT, "format_version": layout.format_version, **layout.attributes}
    return json.loads(json.dumps(attributes))  # as they will be read


def _create(root: Path, layout: Layout) -> None:
    from zarr.codecs import BloscCodec, Crc32cCodec

    root.parent.mkdir(parents=True, exist_ok=True)
    group = zarr().create_group(root, zarr_format=3, attributes=_attributes(layout))
    width = layout.dtype.itemsize
    chunk = min(layout.shard_rows, 1 << ((_CHUNK_BYTES // (width * layout.hidden)).bit_length() - 1))
    group.create_array(
        "activations",
        shape=(layout.rows, layout.hidden),
        dtype=layout.dtype,
        chunks=(chunk, layout.hidden),
        shards=(layout.shard_rows, layout.hidden),
        # shuffling lays the bits of sign and exponent, which repeat, side by side
        compressors=[BloscCodec(typesize=width, cname="lz4", clevel=5, shuffle="bitshuffle"), Crc32cCodec()],
        attributes={"dtype": "bfloat16" if layout.dtype == np.uint16 else "float32"},
    )
    texts = np.array(list(layout.ids), dtype=object)
    for name, values in (("offsets", layout.offsets), ("token_ids", layout.token_ids), ("roles", layout.roles)):
        _create_column(group, name, values, values.dtype)
    _create_column(group, "ids", texts, "string")
    (root / _JOURNAL).touch()


def _create_column(group: Any, name: str, values: np.ndarray, dtype: Any) -> None:
    from zarr.codecs import Crc32cCodec, ZstdCodec

    array = group.create_array(
        name,
        shape=values.shape,
        dtype=dtype,
        chunks=(max(1, min(len(values), 1 << 22)),),
        compressors=[ZstdCodec(level=3), Crc32cCodec()],
        config={"write_empty_chunks": True},
    )
    array[:] = values


@contextmanager
def _explained(path: Path) -> Generator[None]:
    """Turn the errors of a full or read-only disk into one clear line."""
    try:
        yield
    except OSError as error:
        known = disk_error(error)
        raise UserError(
            known.problem if known else f"cannot write ({error}).",
            where=str(path),
            remedy="free space or choose another folder (ACTIVATIONS_DIR), and run the same command again; finished "
            "shards are kept.",
        ) from error
