"""Activation stores pushed and pulled, the pipeline's and a user's own; and the cache that their bytes lie in."""

import contextlib
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from models_under_pressure.core.errors import UserError
from models_under_pressure.remotes.contents import TrackedOutput, listed, open_repo, tracked_outputs

REMOTE = "activations"

LinkType = Literal["reflink", "hardlink", "symlink", "copy"]
_KINDS: tuple[LinkType, ...] = ("reflink", "hardlink", "symlink", "copy")


def push_stores(stores: Sequence[Path], *, root: Path) -> list[Path]:
    """Push stores to their remote; those that neither a stage nor a .dvc file names are added first and returned.

    A store inside a folder that is the output of a stage goes with the whole folder: without its listing nobody could
    pull it.

    Raises:
        UserError: DVC fails; its own message comes before.
    """
    known = {(root / output.path).absolute(): Path(output.path) for output in tracked_outputs(root=root)}
    outputs = {
        store: next((known[place] for place in (store.absolute(), *store.absolute().parents) if place in known), None)
        for store in stores
    }
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
    for output in tracked_outputs(root=root):
        place = (root / output.path).absolute()
        if place.is_relative_to(below):
            parts = _parts(output, place.relative_to(below), model, datasets, layers, root)
            wanted += [Path(output.path) / part for part in parts]
    if wanted:
        _dvc("pull", wanted, root=root)
    return wanted


def _parts(
    output: TrackedOutput, path: Path, model: str | None, datasets: Sequence[str], layers: Sequence[int], root: Path
) -> list[str]:
    """Which parts of an output are wanted: all of it ("."), nothing, or stores inside it.

    An output is a layer of the pipeline and those beside it (`<model>/layer_<L>`, stores in a folder per purpose, or
    `layer_<M>` in there), one store (`<model>/<dataset>/layer_<L>.zarr`), or several layers of one dataset
    (`<model>/layers`); a choice of layers from the last has to name it as the dataset.
    """
    home = path.parent if path.suffix == ".zarr" else path
    if model is not None and str(home.parent) not in (model, Path(model).name):
        return []
    if one_layer := re.fullmatch(r"layer_(\d+)", path.name):
        if not datasets and not layers:
            return ["."]
        stores = {found[1] for name in listed(output, root=root) if (found := re.match(r"(.*?\.zarr)/", name))}
        beside = {store: re.search(r"/layer_(\d+)/", store) for store in stores}
        return sorted(
            store
            for store, other in beside.items()
            if (not datasets or Path(store).stem in datasets) and (not layers or int((other or one_layer)[1]) in layers)
        )
    if datasets and home.name not in datasets:
        return []
    names = [f"layer_{layer}.zarr" for layer in layers]
    if names and home == path:
        return names if datasets else []
    return ["."] if not names or path.name in names else []


def _dvc(action: str, paths: Sequence[Path], *, root: Path) -> None:
    """Run DVC, whose progress and messages are shown; in this process, which has imported it already."""
    from dvc.cli import main  # pyright: ignore[reportUnknownVariableType]

    options = {"push": ["--remote", REMOTE], "pull": ["--remote", REMOTE, "--allow-missing"]}.get(action, [])
    with contextlib.chdir(root):
        status = main([action, *options, "--", *map(str, paths)])
    if status:
        raise UserError(
            f"`dvc {action}` failed; its message is above.",
            where=str(paths[0]) if len(paths) == 1 else f"{len(paths)} stores",
            remedy="`mup remote test` looks for the cause.",
        )


@dataclass(frozen=True)
class CacheState:
    """The cache, and the ways in which outputs share its bytes."""

    path: Path
    possible: tuple[LinkType, ...]
    """Types of link that work between the cache and the project."""
    used: LinkType
    """The first type that .dvc/config asks for and that works."""
    free: int
    """Bytes free on the disk of the cache."""
    free_workspace: int
    """Bytes free on the disk of the project."""

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
        path, workspace, configured = Path(repo.cache.local.path), Path(repo.root_dir), repo.cache.local.cache_types
    near = next(folder for folder in (path, *path.parents) if folder.is_dir())
    possible = possible_links(near, workspace)
    used: list[LinkType] = [kind for name in configured for kind in possible if kind == name]
    free, free_workspace = (shutil.disk_usage(folder).free for folder in (near, workspace))
    return CacheState(path, possible, used[0] if used else "copy", free, free_workspace)


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
