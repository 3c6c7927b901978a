"""Pushing and pulling activation stores, those of the pipeline and those that `mup acts store` made."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from models_under_pressure.core.errors import UserError
from models_under_pressure.remotes.contents import tracked_outputs

REMOTE = "activations"


def push_stores(stores: Sequence[Path], *, root: Path) -> list[Path]:
    """Push stores to their remote; those that neither a stage nor a .dvc file names are added first and returned.

    A store inside a folder that is the output of a stage goes with the whole folder: without its listing nobody could
    pull it.

    Raises:
        UserError: DVC fails; its own message comes before.
    """
    known = _known(root)
    outputs = {store: _output_of(store, known, root) for store in stores}
    new = [store for store, output in outputs.items() if output is None]
    if new:
        _dvc("add", new, root=root)
    if stores:
        _dvc("push", sorted({output or store for store, output in outputs.items()}), root=root)
    return new


def pull_stores(
    folder: Path, *, model: str | None, datasets: Sequence[str], layers: Sequence[int], root: Path
) -> list[Path]:
    """Pull the stores below `folder` that match every filter given, and return their paths.

    Raises:
        UserError: DVC fails; its own message comes before.
    """
    below, wanted = (root / folder).absolute(), []
    for path in _known(root):
        if (root / path).absolute().is_relative_to(below):
            relative = (root / path).absolute().relative_to(below)
            wanted += [
                path / part for part in _matching(relative, model, datasets, layers, partial(_stores, path, root))
            ]
    if wanted:
        _dvc("pull", wanted, root=root)
    return wanted


def _known(root: Path) -> list[Path]:
    """What dvc.lock and .dvc files name."""
    return [Path(output.path) for output in tracked_outputs(root=root)]


def _output_of(store: Path, known: Sequence[Path], root: Path) -> Path | None:
    absolute = {(root / path).absolute(): path for path in known}
    return next((absolute[place] for place in (store.absolute(), *store.absolute().parents) if place in absolute), None)


def _matching(
    path: Path,
    model: str | None,
    datasets: Sequence[str],
    layers: Sequence[int],
    stores: Callable[[], Sequence[str]],
) -> list[str]:
    """Parts of an output that are wanted: all of it ("."), nothing, or some of the stores inside.

    An output is one store (`<model>/<dataset>/layer_<L>.zarr`), a stage's folder of one layer (`<model>/layer_<L>`,
    with `<purpose>/<dataset>.zarr` inside), or the layers of one dataset (`<model>/layers`), which has to be named.

    Args:
        path: the output, below the folder of activations.
        model: name of the model; None: any.
        datasets: names; empty: all.
        layers: numbers; empty: all.
        stores: lists the stores inside the output.
    """
    home = path.parent if path.suffix == ".zarr" else path
    if model is not None and str(home.parent) not in (model, Path(model).name):
        return []
    if path.name.startswith("layer_") and home == path:
        if layers and path.name not in {f"layer_{layer}" for layer in layers}:
            return []
        return [store for store in stores() if Path(store).stem in datasets] if datasets else ["."]
    if datasets and home.name not in datasets:
        return []
    if not layers:
        return ["."]
    names = [f"layer_{layer}.zarr" for layer in layers]
    if home == path:
        return names if datasets else []
    return ["."] if path.name in names else []


def _stores(path: Path, root: Path) -> list[str]:
    """The stores in a stage's folder, as its listing in the cache or on the remote names them."""
    from dvc.api import DVCFileSystem

    found = DVCFileSystem(str(root)).glob(f"{path.as_posix()}/*/*.zarr")
    return sorted(Path(store).relative_to(path).as_posix() for store in found)


def _dvc(action: str, paths: Sequence[Path], *, root: Path) -> None:
    """Run DVC, whose progress and messages are shown."""
    options = {"push": ["--remote", REMOTE], "pull": ["--remote", REMOTE, "--allow-missing"]}.get(action, [])
    command = [sys.executable, "-m", "dvc", action, *options, "--", *map(str, paths)]
    if subprocess.run(command, cwd=root, check=False).returncode:
        raise UserError(
            f"`dvc {action}` failed; its message is above.",
            where=str(paths[0]) if len(paths) == 1 else f"{len(paths)} stores",
            remedy="`mup remote test` looks for the cause.",
        )
