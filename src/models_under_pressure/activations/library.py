"""The stores below one folder: `<model>/<dataset>/layer_<L>.zarr` of `mup acts store`, and the pipeline's.

The pipeline's are `<model>/layer_<L>/<purpose>/<dataset>.zarr`: all of one layer are one output of DVC.
"""

import glob
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from models_under_pressure.activations.model import code_fingerprint
from models_under_pressure.activations.store import MANIFEST, open_store, partial_path
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import read_json


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
        size = sum(entry["bytes"] for entry in read_json(self.path / MANIFEST)["files"].values())
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
    if len(path.parts) > 3 and (layer := layer_number(path.parts[-3])) is not None:
        return str(Path(*path.parts[:-3])), path.stem, layer
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
    """Where stores are made: MUP_STORES, or the user's cache folder; it may be deleted at any time."""
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
