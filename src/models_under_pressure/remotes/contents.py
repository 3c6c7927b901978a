"""What dvc.lock names, and where it is: in the cache, on the remote, or nowhere."""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from models_under_pressure.core.errors import UserError
from models_under_pressure.remotes.checks import explain
from models_under_pressure.remotes.config import invalid_config, read_targets

if TYPE_CHECKING:
    from dvc.output import Output
    from dvc.repo import Repo
    from dvc_data.hashfile.db import HashFileDB
    from dvc_data.hashfile.tree import Tree

Stored = Literal["whole", "damaged", "part", "absent"]


@dataclass(frozen=True)
class TrackedOutput:
    """An output of the pipeline, as dvc.lock names it."""

    path: str
    """Path in the project."""
    remote: str
    """Name of the remote that it belongs to."""
    hash: str
    """MD5 of the file, or of the listing of the folder followed by `.dir`."""
    size: int
    """Bytes of its files."""


@dataclass(frozen=True)
class OutputStatus:
    """Where the bytes of one output are."""

    output: TrackedOutput
    cached: bool
    """Whether all of it is in this machine's cache."""
    stored: Stored
    """On the remote: all of it, all but with a size that cannot be right, some files, or nothing."""

    @property
    def lost(self) -> bool:
        """Whether no place that can be seen from here has all of it."""
        return not self.cached and self.stored != "whole"


def tracked_outputs(*, root: Path, all_tags: bool = False) -> list[TrackedOutput]:
    """Outputs that dvc.lock names, here or also in every tag, each once, in the order of their paths."""
    with open_repo(root) as repo:
        return _tracked(repo, all_tags)


def contents(*, root: Path, all_tags: bool = False) -> list[OutputStatus]:
    """Where every tracked output is. Reads listings and sizes, no content.

    Raises:
        UserError: a remote cannot be read.
    """
    with open_repo(root) as repo:
        statuses = []
        outputs = _tracked(repo, all_tags)
        for remote in sorted({output.remote for output in outputs}):
            mine = [output for output in outputs if output.remote == remote]
            with explained(remote, action="list", root=root):
                statuses += _statuses(mine, repo.cache.local, remote_store(repo, remote))
        return sorted(statuses, key=lambda status: status.output.path)


def listed(path: str, *, root: Path) -> list[str]:
    """Names of the files in an output that is a folder; none when neither the cache nor the remote has its listing.

    Raises:
        UserError: the remote cannot be read.
    """
    with open_repo(root) as repo:
        output = next(one for one in _tracked(repo, all_tags=False) if one.path == path)
        with explained(output.remote, action="list", root=root):
            tree = _tree(output.hash, repo.cache.local, remote_store(repo, output.remote))
            return ["/".join(key) for key, _, _ in tree or ()]


def folder_listings(hashes: Iterable[str], *, root: Path) -> dict[str, dict[str, str]]:
    """Hash of each folder whose listing the cache or any remote has -> name of each of its files -> hash."""
    from botocore.exceptions import BotoCoreError, ClientError
    from dvc.exceptions import DvcException

    found: dict[str, dict[str, str]] = {}
    with open_repo(root) as repo:
        for name in (None, *repo.config["remote"]):
            for hash_ in sorted(set(hashes) - found.keys()):
                try:
                    place = repo.cache.local if name is None else remote_store(repo, name)
                    tree = _tree(hash_, place)
                except (BotoCoreError, ClientError, DvcException, OSError):
                    break  # a remote that does not answer holds up nobody
                if tree is not None:
                    found[hash_] = {"/".join(key): str(info.value) for key, _, info in tree if info}
    return found


@contextmanager
def explained(remote: str, *, action: str, root: Path) -> Iterator[None]:
    """Turn what a server's client raises into an error with its remedy."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError, OSError) as error:
        target = next(target for target in read_targets(root=root) if target.name == remote)
        found = explain(error, target=target, action=action)
        raise UserError(f"{found.problem}.", where=f"remote {remote}", remedy=f"{found.remedy}.") from error


def repair(*, root: Path, paths: Iterable[str] = ()) -> list[TrackedOutput]:
    """Upload anew, from the cache, the outputs whose size on the remote is wrong, and those at `paths`.

    DVC takes a file that is on the remote for good, so that `dvc push` never replaces a damaged one.

    Raises:
        UserError: an output is not whole in the cache, or no output is at a path.
    """
    wanted = {path.rstrip("/") for path in paths}
    mended = []
    with open_repo(root) as repo:
        statuses = contents(root=root)
        unknown = wanted - {status.output.path for status in statuses}
        if unknown:
            raise UserError(f"no output at {', '.join(sorted(unknown))}.", remedy="name outputs as dvc.yaml does.")
        for status in statuses:
            if status.stored == "damaged" or status.output.path in wanted:
                with explained(status.output.remote, action="write", root=root):
                    _upload(status, repo.cache.local, remote_store(repo, status.output.remote))
                mended.append(status.output)
    return mended


def open_repo(root: Path) -> "Repo":
    """The project as DVC sees it.

    Raises:
        UserError: `root` is no DVC project, or its configuration cannot be read.
    """
    from dvc.config import ConfigError
    from dvc.exceptions import NotDvcRepoError
    from dvc.repo import Repo

    try:
        return Repo(str(root))
    except NotDvcRepoError:
        raise UserError(
            "not a DVC project.", where=str(root.absolute()), remedy="run from the project's folder."
        ) from None
    except ConfigError as error:
        raise invalid_config(error, root / ".dvc") from None


def remote_store(repo: "Repo", name: str) -> "HashFileDB":
    """The files of a remote, by hash."""
    return repo.cloud.get_remote_odb(name)


def _tracked(repo: "Repo", all_tags: bool) -> list[TrackedOutput]:
    found: dict[tuple[str, str], TrackedOutput] = {}
    default = str(repo.config["core"].get("remote"))
    for revision in repo.brancher(all_tags=all_tags):
        for out in _outs(repo, revision):
            if out.use_cache and out.hash_info and out.hash_info.value:
                path = Path(out.fs_path).relative_to(repo.root_dir).as_posix()
                size = (out.meta.size if out.meta else None) or 0
                output = TrackedOutput(path, out.remote or default, out.hash_info.value, size)
                found[output.path, output.hash] = output
    return [found[key] for key in sorted(found)]


def _outs(repo: "Repo", revision: str) -> "list[Output]":
    from dvc.exceptions import DvcException

    try:
        return list(repo.index.outs)
    except DvcException as error:
        first = next(line for line in str(error).splitlines() if line.strip())
        of = "" if revision in ("", "workspace") else f" of {revision}"
        if found := re.search(r"[\w./-]*dvc\.lock", first):
            lock = os.path.relpath(found[0], repo.root_dir)  # DVC names it from the working directory
            raise UserError(
                "cannot be read: DVC was killed while it wrote the file, or a merge is not resolved.",
                where=f"{lock}{of}",
                remedy=f"`git checkout {lock}`, or delete it, then `dvc repro`; the run cache has what was finished.",
            ) from error
        raise UserError(first, where=f"dvc.yaml{of}", remedy="`dvc stage list` shows the place.") from error


def _statuses(outputs: list[TrackedOutput], cache: "HashFileDB", odb: "HashFileDB") -> Iterator[OutputStatus]:
    objects = {output: _objects(output.hash, cache, odb) for output in outputs}
    sizes = _sizes(odb, {hash_ for hashes in objects.values() for hash_ in hashes})
    for output, hashes in objects.items():
        here = {hash_: size for hash_ in hashes if (size := _size(cache, hash_)) is not None}
        there = {hash_: sizes[hash_] for hash_ in hashes if hash_ in sizes}
        cached = here.keys() == set(hashes) and _total(hashes, here) == output.size
        yield OutputStatus(output, cached=cached, stored=_stored(output, hashes, there))


def _stored(output: TrackedOutput, hashes: list[str], there: dict[str, int]) -> Stored:
    if not there:
        return "absent"
    if len(set(there)) < len(set(hashes)):
        return "part"
    return "whole" if _total(hashes, there) == output.size else "damaged"


def _total(hashes: list[str], sizes: dict[str, int]) -> int:
    """Bytes of the files; the listing of a folder is not one of them."""
    return sum(sizes[hash_] for hash_ in hashes if not hash_.endswith(".dir"))


def _objects(hash_: str, cache: "HashFileDB", odb: "HashFileDB") -> list[str]:
    """Hashes of the files of an output, with repetitions; of a folder whose listing is nowhere, its own only."""
    tree = _tree(hash_, cache, odb) if hash_.endswith(".dir") else None
    return [hash_, *(str(info.value) for _, _, info in tree or () if info)]


def _tree(hash_: str, *places: "HashFileDB") -> "Tree | None":
    """The listing of a folder; None when it is nowhere."""
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.tree import Tree
    from dvc_objects.errors import ObjectFormatError

    for place in places:
        try:
            return Tree.load(place, HashInfo("md5", hash_))
        except (FileNotFoundError, ObjectFormatError):
            continue
    return None


def _sizes(odb: "HashFileDB", hashes: set[str]) -> dict[str, int]:
    """Size of each file of a remote that is there."""
    if odb.fs.protocol != "s3":
        return {hash_: size for hash_ in sorted(hashes) if (size := _size(odb, hash_)) is not None}
    # one listing asks for a thousand files at once
    listed: Any = odb.fs.fs.find(odb.path, detail=True)
    paths = {hash_: odb.oid_to_path(hash_) for hash_ in hashes}
    return {hash_: listed[path]["size"] for hash_, path in paths.items() if path in listed}


def _size(odb: "HashFileDB", hash_: str) -> int | None:
    try:
        return odb.fs.info(odb.oid_to_path(hash_))["size"]
    except FileNotFoundError:
        return None


def _upload(status: OutputStatus, cache: "HashFileDB", odb: "HashFileDB") -> None:
    output = status.output
    if not status.cached:
        raise UserError(
            "not whole in this machine's cache, so that it cannot be uploaded.",
            where=output.path,
            remedy=f"run `mup remote repair {output.path}` on a machine that has it, or `dvc repro` to make it anew.",
        )
    # the listing of a folder goes last: DVC takes its presence for the presence of all files
    for hash_ in sorted(set(_objects(output.hash, cache, odb)), key=lambda hash_: hash_.endswith(".dir")):
        odb.fs.put_file(cache.oid_to_path(hash_), odb.oid_to_path(hash_))
