"""Reading activation stores; docs/activations.md describes the format."""

import glob
import os
import shutil
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int8, Int32, Int64

from models_under_pressure.activations.model import code_fingerprint
from models_under_pressure.core.display import notice
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import file_hash, is_object, read_json

FORMAT = "mup-activations"
FORMAT_VERSIONS = (1, 1.1)
"""Versions that are read. A store is of the second if it has tool or thinking tokens, and of the first if not."""
MANIFEST = "manifest.json"
"""Written last: a folder with it is a whole store."""


class Store:
    """A finished store, read lazily: `Activations` on disk."""

    def __init__(self, path: Path, group: Any) -> None:
        self.path = path
        self._group = group
        self._values = group["activations"]

    @cached_property
    def attributes(self) -> Mapping[str, Any]:
        """Provenance: model, revision, layer, hook point, template hash, dataset hash and more."""
        return dict(self._group.attrs)

    @cached_property
    def ids(self) -> Sequence[str]:
        """Record ids, in the order of the offsets."""
        return [str(id_) for id_ in self._array("ids")]

    @cached_property
    def offsets(self) -> Int64[np.ndarray, "records_plus_1"]:
        """Record `i` owns the rows `offsets[i]` up to but not including `offsets[i + 1]`."""
        return self._array("offsets")

    @cached_property
    def roles(self) -> Int8[np.ndarray, "tokens"]:
        """Role code of each row."""
        return self._array("roles")

    @cached_property
    def token_ids(self) -> Int32[np.ndarray, "tokens"]:
        """Token of each row; -1 where a row stands for many tokens."""
        return self._array("token_ids")

    @property
    def hidden(self) -> int:
        """Width of an activation."""
        return int(self._values.shape[1])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Number format of the rows on disk: uint16 for the bits of bfloat16, or float32."""
        return np.dtype(self._values.dtype)

    @property
    def shard_rows(self) -> int:
        """Rows of one file."""
        return int(self._values.shards[0])

    def read(self, start: int, stop: int) -> Float32[np.ndarray, "tokens hidden"]:
        """The activations of the rows from `start` up to but not including `stop`; only their chunks are read.

        Raises:
            UserError: a chunk does not agree with its checksum.
        """
        return to_float32(self.read_bits(start, stop))

    def read_bits(self, start: int, stop: int) -> np.ndarray:
        """The same rows as they are on disk: bfloat16 bits as uint16, or float32."""
        with _readable(self.path, f"rows {start} to {stop}"):
            return self._values[start:stop]

    def _array(self, name: str) -> Any:
        with _readable(self.path, name):
            return self._group[name][:]

    def record(self, index: int) -> Float32[np.ndarray, "tokens hidden"]:
        """The activations of one record."""
        return self.read(int(self.offsets[index]), int(self.offsets[index + 1]))

    def verify(self) -> None:
        """Compare every file with its checksum.

        Raises:
            UserError: a file is damaged or missing, or a chunk is not in the manifest. Other files that are not of the
                store, which a desktop left there, are named only: nothing reads them.
        """
        files = _check_sizes(self.path)
        found = {str(file.relative_to(self.path)) for file in self.path.rglob("*") if file.is_file()} - {MANIFEST}
        foreign = sorted(found - set(files))
        wrong = [name for name in foreign if is_store_file(Path(name))]
        wrong += [name for name in sorted(files) if file_hash(self.path / name) != files[name]["sha256"]]
        if wrong:
            raise _damaged(self.path, f"{len(wrong)} files are damaged or foreign, first {wrong[0]}.")
        for name in foreign:
            notice(f"{self.path}: {name} is foreign to the store: nothing reads it, and it may be deleted")


def open_store(path: Path) -> Store:
    """Open a finished store; nothing but its metadata is read.

    Raises:
        UserError: there is no finished store of a known version at `path`, or a file of it is missing or cut.
    """
    if not (path / MANIFEST).is_file():
        partial = partial_path(path)
        raise UserError(
            "no activation store here" + (" but an unfinished one." if partial.exists() else "."),
            where=str(path),
            remedy="run the extraction again; it continues where it stopped."
            if partial.exists()
            else "run `mup extract`, `mup acts store` or `dvc pull`.",
        )
    _check_sizes(path)  # zarr would read a missing file as zeros
    with _readable(path, "zarr.json"):
        group = zarr().open_group(path, mode="r", zarr_format=3)
    version = group.attrs.get("format_version")
    if group.attrs.get("format") != FORMAT or version not in FORMAT_VERSIONS:
        raise UserError(
            f"the store has the format version {version}, this code reads {' and '.join(map(str, FORMAT_VERSIONS))}.",
            where=str(path),
            remedy="extract it again with this version of the project.",
        )
    with _readable(path, "activations"):
        return Store(path, group)


def zarr() -> Any:
    """The library, whose own types say little; imported when asked for."""
    return import_module("zarr")


def partial_path(path: Path) -> Path:
    """Path at which a store grows until it is whole."""
    return path.with_name(f"{path.name}.partial")


def is_store_file(name: Path) -> bool:
    """Whether a file inside a store, by its path there, is metadata or a chunk, not what a desktop or a kill left."""
    return name.name == "zarr.json" or ((name.parent.name.isdigit() or name.parent.name == "c") and name.name.isdigit())


def to_float32(values: np.ndarray) -> Float32[np.ndarray, "..."]:
    """Widen bfloat16 bits (exactly: they are the upper half of a float32); float32 passes."""
    if values.dtype != np.uint16:
        return values
    return np.left_shift(values, 16, dtype=np.uint32).view(np.float32)


@contextmanager
def _readable(path: Path, what: str) -> Generator[None]:
    try:
        yield
    except (MemoryError, PermissionError):  # no damage: the advice to delete the store would be wrong
        raise
    except Exception as error:  # zarr's codecs and JSON raise errors of their own for each kind of damage
        raise _damaged(path, f"{what} cannot be read ({error or type(error).__name__}).") from error


def _manifest(path: Path) -> dict[str, Any]:
    """The files of a store: path in it -> `bytes` and `sha256`."""
    found = read_json(path / MANIFEST)
    files: Any = found.get("files") if is_object(found) else None
    if not is_object(files) or not all(
        is_object(entry) and {"bytes", "sha256"} <= set(entry) for entry in files.values()
    ):
        raise _damaged(path, f"{MANIFEST} does not list files.")
    return files


def _check_sizes(path: Path) -> dict[str, Any]:
    """The manifest's files, all of which are there in their full length."""
    files = _manifest(path)
    for name, entry in files.items():
        file = path / name
        if not file.is_file() or file.stat().st_size != entry["bytes"]:
            raise _damaged(path, f"{name} is {'cut' if file.is_file() else 'missing'}.")
    return files


def _damaged(path: Path, problem: str) -> UserError:
    return UserError(problem, where=str(path), remedy="delete the store, and extract or pull it again.")


@dataclass(frozen=True)
class Entry:
    """One store, finished or not."""

    path: Path
    model: str
    dataset: str
    layer: int
    finished: bool

    @property
    def summary(self) -> str:
        """One line: counts, size, settings."""
        if not self.finished:
            return "unfinished; the same command continues it"
        store = open_store(self.path)
        attributes = store.attributes
        size = sum(entry["bytes"] for entry in _manifest(self.path).values())
        return (
            f"{attributes['records']:>8,} records {attributes['tokens']:>12,} tokens {size / 1e6:>10,.1f} MB  "
            f"{attributes['hook_point']}, {attributes['keep']}, {attributes['compute_dtype']}"
        )


def store_path(root: Path, model: str, dataset: Path | str, layer: int) -> Path:
    """Path of a store; a local model goes by the name of its folder, a dataset file by its stem."""
    name = Path(model).name if Path(model).expanduser().is_dir() else model
    stem = dataset.stem if isinstance(dataset, Path) else dataset
    return root / name / stem / f"layer_{layer}.zarr"


def entries(
    root: Path, *, model: str | None = None, datasets: Sequence[str] = (), layers: Sequence[int] = ()
) -> Iterator[Entry]:
    """Yield the stores below `root`, those that match every filter given, in the order of their paths."""
    found = {path.with_name(path.name.removesuffix(".partial")) for path in root.glob("**/*.zarr*")}
    for path in sorted(found):
        named = None if path.suffix != ".zarr" else _named(path.relative_to(root))
        if named is None:
            continue
        entry = Entry(path, *named, (path / MANIFEST).exists())
        if (
            (model is None or entry.model in (model, Path(model).name))
            and (not datasets or entry.dataset in datasets)
            and (not layers or entry.layer in layers)
        ):
            yield entry


def _named(path: Path) -> tuple[str, str, int] | None:
    """Model, dataset and layer that a store's path names, or None."""
    if (layer := layer_number(path.stem)) is not None:
        return str(path.parent.parent), path.parent.name, layer
    folders = path.parent.parts  # <model>/layer_<L>/<purpose>, and layer_<M> in it for a layer beside that one
    named = [(place, layer) for place, name in enumerate(folders) if (layer := layer_number(name)) is not None]
    if named and named[0][0]:
        return str(Path(*folders[: named[0][0]])), path.stem, named[-1][1]
    return None


def layer_number(name: str) -> int | None:
    """The number in `layer_<L>`."""
    number = name.removeprefix("layer_")
    return int(number) if number != name and number.isdigit() else None


def remove(entry: Entry) -> None:
    """Delete a store, what is left of an unfinished one, and the file by which DVC knows it."""
    for path in (entry.path, partial_path(entry.path)):
        if path.exists():
            shutil.rmtree(path)
    entry.path.with_name(f"{entry.path.name}.dvc").unlink(missing_ok=True)


def shelf_path() -> Path:
    """Folder in which stores are made: MUP_STORES, or the user's cache folder; it may be deleted at any time."""
    from platformdirs import user_cache_path

    return Path(os.environ.get("MUP_STORES") or user_cache_path("models-under-pressure") / "stores")


def discard_stale(path: Path) -> None:
    """Delete a store that is damaged, or was made by other code than this checkout's."""
    if not (path / MANIFEST).is_file():
        return
    try:
        store = open_store(path)
        store.verify()
        is_current = store.attributes.get("code") == code_fingerprint()
    except UserError:
        is_current = False
    if not is_current:
        shutil.rmtree(path)


def dataset_files(patterns: Sequence[str]) -> list[Path]:
    """The files that paths and patterns name, each once, in the order given.

    Raises:
        UserError: a pattern names no file, or two files would share a store.
    """
    files: dict[Path, None] = {}
    for pattern in patterns:
        found = glob.glob(pattern, recursive=True)  # noqa: PTH207 - Path.glob takes no absolute patterns
        matches = sorted(path for path in map(Path, found) if path.is_file())
        if not matches and Path(pattern).is_dir():
            raise UserError("is a folder.", where=pattern, remedy="name a file in it, or quote a pattern with *.")
        if not matches:
            raise UserError("no file of this name.", where=pattern, remedy="check the path; quote a pattern with *.")
        files |= dict.fromkeys(matches)
    stems: dict[str, Path] = {}
    for file in files:
        if (other := stems.setdefault(file.stem, file)) != file:
            raise UserError(
                f"{other} has the same name, and both would share a store.",
                where=str(file),
                remedy="rename one of them, or store them one at a time into other folders (ACTIVATIONS_DIR).",
            )
    return list(files)
