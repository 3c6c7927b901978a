"""Pushing and pulling activation stores, those of the pipeline and those that `mup acts store` made."""

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from models_under_pressure.core.errors import UserError
from models_under_pressure.remotes.contents import listed, open_repo, tracked_outputs

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
    below = (root / folder).absolute()
    wanted: list[Path] = []
    for path in _known(root):
        if (root / path).absolute().is_relative_to(below):
            relative = (root / path).absolute().relative_to(below)
            if _is_layer(relative):
                parts = _inside_layer(root, path, relative, model, datasets, layers)
            else:
                parts = _matching(relative, model, datasets, layers)
            wanted += [path / part for part in parts]
    if wanted:
        _dvc("pull", wanted, root=root)
    return wanted


def _known(root: Path) -> list[Path]:
    """What dvc.lock and .dvc files name."""
    return [Path(output.path) for output in tracked_outputs(root=root)]


def _output_of(store: Path, known: Sequence[Path], root: Path) -> Path | None:
    absolute = {(root / path).absolute(): path for path in known}
    return next((absolute[place] for place in (store.absolute(), *store.absolute().parents) if place in absolute), None)


def _matching(path: Path, model: str | None, datasets: Sequence[str], layers: Sequence[int]) -> list[str]:
    """Which parts of an output are wanted: all of it ("."), nothing, or stores inside a folder of several layers.

    Such a folder (`<model>/layers`) is one dataset's; a choice of its layers has to name it as the dataset.
    """
    home = path.parent if path.suffix == ".zarr" else path
    if model is not None and str(home.parent) not in (model, Path(model).name):
        return []
    if datasets and home.name not in datasets:
        return []
    if not layers:
        return ["."]
    names = [f"layer_{layer}.zarr" for layer in layers]
    if home == path:
        return names if datasets else []
    return ["."] if path.name in names else []


def _is_layer(path: Path) -> bool:
    """Whether an output is the pipeline's: all stores of one layer, in a folder per purpose."""
    return re.fullmatch(r"layer_\d+", path.name) is not None


def _inside_layer(
    root: Path, output: Path, path: Path, model: str | None, datasets: Sequence[str], layers: Sequence[int]
) -> list[str]:
    """Which parts of the pipeline's folder of one layer are wanted."""
    if model is not None and str(path.parent) not in (model, Path(model).name):
        return []
    if layers and int(path.name.removeprefix("layer_")) not in layers:
        return []
    if not datasets:
        return ["."]
    stores = {Path(*Path(name).parts[:2]) for name in listed(output.as_posix(), root=root)}
    return sorted(store.as_posix() for store in stores if store.stem in datasets)


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


LinkType = Literal["reflink", "hardlink", "symlink", "copy"]
_KINDS: tuple[LinkType, ...] = ("reflink", "hardlink", "symlink", "copy")


@dataclass(frozen=True)
class CacheState:
    """The cache, and the ways in which outputs share its bytes."""

    path: Path
    configured: tuple[str, ...]
    """What .dvc/config asks for, in the order in which DVC tries."""
    possible: tuple[LinkType, ...]
    """What works between the cache and the project."""
    free: int
    """Bytes free on the disk of the cache."""
    free_workspace: int
    """Bytes free on the disk of the project."""
    same_disk: bool
    """Whether cache and project share a disk; only then do reflinks and hard links work."""

    @property
    def used(self) -> LinkType:
        """The first configured type that works."""
        for name in self.configured:
            for kind in self.possible:
                if kind == name:
                    return kind
        return "copy"

    @property
    def copies(self) -> int:
        """How often the bytes of an output lie on this machine."""
        return 2 if self.used == "copy" else 1


def cache_state(*, root: Path) -> CacheState:
    """Look at the cache by trying each type of link from it into the project.

    Raises:
        UserError: `root` is no DVC project.
    """
    with open_repo(root) as repo:
        path = Path(repo.cache.local.path)
        configured: tuple[str, ...] = tuple(repo.cache.local.cache_types)
        workspace = Path(repo.root_dir)
    near = _existing(path)
    return CacheState(
        path=path,
        configured=configured,
        possible=possible_links(near, workspace),
        free=shutil.disk_usage(near).free,
        free_workspace=shutil.disk_usage(workspace).free,
        same_disk=near.stat().st_dev == workspace.stat().st_dev,
    )


def possible_links(source: Path, destination: Path) -> tuple[LinkType, ...]:
    """The types of link that work from a file in one folder to a name in another; tries them."""
    from dvc_objects.fs.generic import test_links
    from dvc_objects.fs.local import LocalFileSystem

    with (
        tempfile.TemporaryDirectory(dir=source, prefix=".links-") as here,
        tempfile.TemporaryDirectory(dir=destination, prefix=".links-") as there,
    ):
        system = LocalFileSystem()
        works = test_links(list(_KINDS), system, here, system, str(Path(there) / "link"))
    return tuple(kind for kind in _KINDS if kind in works)


def _existing(path: Path) -> Path:
    """The nearest folder at or above a path that exists."""
    while not path.is_dir():
        path = path.parent
    return path
