"""What dvc.lock names, and where it is: in the cache, on the remote, or nowhere."""

import os
import re
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from models_under_pressure.core.errors import UserError
from models_under_pressure.remotes.config import invalid_config, read_targets
from models_under_pressure.remotes.target import explain

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
        statuses: list[OutputStatus] = []
        outputs = _tracked(repo, all_tags)
        for remote in sorted({output.remote for output in outputs}):
            mine = [output for output in outputs if output.remote == remote]
            with _opened(repo, remote, "list") as odb:
                statuses += _statuses(mine, repo.cache.local, odb)
        return sorted(statuses, key=lambda status: status.output.path)


def listed(output: TrackedOutput, *, root: Path) -> list[str]:
    """Names of the files in an output that is a folder; none when neither the cache nor the remote has its listing.

    Raises:
        UserError: the remote cannot be read.
    """
    with open_repo(root) as repo, _opened(repo, output.remote, "list") as odb:
        return [name for name, _ in _listing(output.hash, repo.cache.local, odb) or ()]


def folder_listings(hashes: Iterable[str], *, root: Path) -> dict[str, dict[str, str]]:
    """Hash of each folder whose listing the cache or any remote has -> name of each of its files -> hash."""
    from botocore.exceptions import BotoCoreError, ClientError
    from dvc.exceptions import DvcException

    found: dict[str, dict[str, str]] = {}
    with open_repo(root) as repo:
        for name in (None, *repo.config["remote"]):
            try:
                place = repo.cache.local if name is None else repo.cloud.get_remote_odb(name)
                for hash_ in sorted(set(hashes) - found.keys()):
                    if (listing := _listing(hash_, place)) is not None:
                        found[hash_] = dict(listing)
            except (BotoCoreError, ClientError, DvcException, OSError):
                continue  # a remote that does not answer holds up nobody
    return found


def repair(*, root: Path, paths: Iterable[str] = ()) -> list[TrackedOutput]:
    """Upload anew, from the cache, the outputs whose size on the remote is wrong, and those at `paths`.

    DVC takes a file that is on the remote for good, so that `dvc push` never replaces a damaged one.

    Raises:
        UserError: an output is not whole in the cache, or no output is at a path.
    """
    wanted = {path.rstrip("/") for path in paths}
    statuses = contents(root=root)
    unknown = wanted - {status.output.path for status in statuses}
    if unknown:
        raise UserError(f"no output at {', '.join(sorted(unknown))}.", remedy="name outputs as dvc.yaml does.")
    mended: list[TrackedOutput] = []
    with open_repo(root) as repo:
        for status in statuses:
            if status.stored == "damaged" or status.output.path in wanted:
                with _opened(repo, status.output.remote, "write") as odb:
                    _upload(status, repo.cache.local, odb)
                mended.append(status.output)
    return mended


def open_repo(root: Path) -> Any:
    """The project as DVC sees it: a `dvc.repo.Repo`, which knows no types.

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


@contextmanager
def _opened(repo: Any, remote: str, action: str) -> Generator[Any, None, None]:
    """The files of a remote, by hash; what a server's client raises turns into an error with its remedy."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield repo.cloud.get_remote_odb(remote)
    except (BotoCoreError, ClientError, OSError) as error:
        target = next(target for target in read_targets(root=Path(repo.root_dir)) if target.name == remote)
        found = explain(error, target=target, action=action)
        raise UserError(f"{found.problem}.", where=f"remote {remote}", remedy=f"{found.remedy}.") from error


def _tracked(repo: Any, all_tags: bool) -> list[TrackedOutput]:
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


def _outs(repo: Any, revision: str) -> list[Any]:
    from dvc.exceptions import DvcException

    of = "" if revision in ("", "workspace") else f" of {revision}"
    try:
        outs = list(repo.index.outs)
    except DvcException as error:
        first = next(line for line in str(error).splitlines() if line.strip())
        if found := re.search(r"[\w./-]*dvc\.lock", first):
            raise _cut(repo, found[0], of) from error
        raise UserError(first, where=f"dvc.yaml{of}", remedy="`dvc stage list` shows the place.") from error
    files = {stage.dvcfile.path: stage.dvcfile for stage in repo.index.stages}
    for path, file in files.items():
        stages = getattr(file, "lockfile_contents", {}).get("stages", {}).values()
        entries = [entry for stage in stages for kind in ("deps", "outs") for entry in stage.get(kind, ())]
        if any(set(entry) <= {"path", "hash"} for entry in entries):  # DVC reads it, and cannot go on
            raise _cut(repo, str(Path(path).with_name("dvc.lock")), of)
    return outs


def _cut(repo: Any, lock: str, of: str) -> UserError:
    lock = os.path.relpath(lock, repo.root_dir)  # DVC names it from the working directory
    return UserError(
        "cannot be read: DVC was killed while it wrote the file, or a merge is not resolved.",
        where=f"{lock}{of}",
        remedy=f"`git checkout {lock}`, or delete it, then `dvc repro`; the run cache has what was finished.",
    )


def _statuses(outputs: list[TrackedOutput], cache: Any, odb: Any) -> Iterator[OutputStatus]:
    objects = {output: _objects(output.hash, cache, odb) for output in outputs}
    there = _sizes(odb, {hash_ for hashes in objects.values() for hash_ in hashes})
    for output, hashes in objects.items():
        here = {hash_: size for hash_ in hashes if (size := _size(cache, hash_)) is not None}
        yield OutputStatus(output, cached=_held(output, hashes, here) == "whole", stored=_held(output, hashes, there))


def _held(output: TrackedOutput, hashes: list[str], sizes: dict[str, int]) -> Stored:
    """How much of an output a place has that holds files of these sizes."""
    kept = [hash_ for hash_ in hashes if hash_ in sizes]
    if len(kept) < len(hashes):
        return "part" if kept else "absent"
    # the listing of a folder is none of its files
    total = sum(sizes[hash_] for hash_ in hashes if not hash_.endswith(".dir"))
    return "whole" if total == output.size else "damaged"


def _objects(hash_: str, cache: Any, odb: Any) -> list[str]:
    """Hashes of the files of an output, with repetitions; of a folder whose listing is nowhere, its own only."""
    listing = _listing(hash_, cache, odb) if hash_.endswith(".dir") else None
    return [hash_, *(one for _, one in listing or ())]


def _listing(hash_: str, *places: Any) -> list[tuple[str, str]] | None:
    """Name and hash of each file of a folder; None when its listing is nowhere."""
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.tree import Tree
    from dvc_objects.errors import ObjectFormatError

    untyped: Any = Tree
    for place in places:
        try:
            tree = untyped.load(place, HashInfo("md5", hash_))
        except (FileNotFoundError, ObjectFormatError):
            continue
        return [("/".join(key), str(info.value)) for key, _, info in tree if info]
    return None


def _sizes(odb: Any, hashes: set[str]) -> dict[str, int]:
    """Size of each file of a remote that is there."""
    if odb.fs.protocol != "s3":
        return {hash_: size for hash_ in sorted(hashes) if (size := _size(odb, hash_)) is not None}
    # one listing asks for a thousand files at once
    listed = odb.fs.fs.find(odb.path, detail=True)
    paths = {hash_: odb.oid_to_path(hash_) for hash_ in hashes}
    return {hash_: listed[path]["size"] for hash_, path in paths.items() if path in listed}


def _size(odb: Any, hash_: str) -> int | None:
    try:
        return odb.fs.info(odb.oid_to_path(hash_))["size"]
    except FileNotFoundError:
        return None


def _upload(status: OutputStatus, cache: Any, odb: Any) -> None:
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
