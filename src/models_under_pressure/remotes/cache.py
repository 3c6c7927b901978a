"""DVC's cache on this machine: where it is, how outputs are linked to it, and how much space is left."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from models_under_pressure.remotes.contents import open_repo

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
