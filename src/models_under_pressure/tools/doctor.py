"""Look at versions, hardware, disk, cache, keys, remotes, the model and the space the planned run needs."""

import os
import platform
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import typer

from models_under_pressure.core.errors import UserError, disk_error
from models_under_pressure.core.settings import Settings
from models_under_pressure.remotes.checks import Finding, check_remote, failed
from models_under_pressure.remotes.config import AWS_CONFIG, default_remote, read_targets
from models_under_pressure.remotes.contents import tracked_outputs
from models_under_pressure.remotes.dvc_lock import cut_lock
from models_under_pressure.remotes.stores import cache_state
from models_under_pressure.remotes.target import load_bucket_settings
from models_under_pressure.tools._planned_run import planned_run
from models_under_pressure.tools.remote import print_findings

_PACKAGES = ("models-under-pressure", "dvc", "dvc-s3", "torch", "transformers", "zarr", "scikit-learn")
_GIB = 2**30


def command(
    offline: Annotated[bool, typer.Option("--offline", help="Ask no server about models and remotes.")] = False,
) -> None:
    """Look at versions, hardware, disk, cache, keys, remotes, the model and the space the planned run needs.

    Values of keys are never shown. Status 1 if something stands in the way.

    Example: mup doctor
    """
    root = Path()
    sections: dict[str, Iterable[Finding]] = {
        "software": software(),
        "hardware": hardware(),
        "keys": keys(root=root),
        "results": results(root=root),
        "cache": cache(root=root),
        "remotes": remotes(root=root, offline=offline),
        "planned run": planned_run(root=root, offline=offline),
    }
    everything: list[Finding] = []
    for title, findings in sections.items():
        print(title)
        everything += print_findings(or_failure(findings))
    if failed(everything):
        raise typer.Exit(1)


def or_failure(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Findings until one cannot be made; the error is the last of them, so that other checks go on."""
    try:
        yield from findings
    except (UserError, OSError) as error:
        problem = disk_error(error) if isinstance(error, OSError) else error
        if problem is None:
            raise
        yield Finding("unknown", "failure", f"{problem.where or ''} {problem.problem}".strip(), problem.remedy)


def software() -> Iterator[Finding]:
    """Versions of Python, the packages and git."""
    supported = (3, 11) <= sys.version_info[:2] <= (3, 13)
    yield Finding(
        "python",
        "ok" if supported else "failure",
        f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        None if supported else "use Python 3.11, 3.12 or 3.13 (`uv python install 3.12`)",
    )
    for name in _PACKAGES:
        try:
            yield Finding(name, "ok", version(name))
        except PackageNotFoundError:
            yield Finding(name, "failure", "not installed", "run `uv sync`")
    git = shutil.which("git")
    if git is None:
        yield Finding("git", "failure", "not installed", "install git; DVC keeps its history with it")
    else:
        shown = subprocess.run([git, "--version"], capture_output=True, text=True, check=False).stdout
        yield Finding("git", "ok", shown.removeprefix("git version ").strip())


def hardware() -> Iterator[Finding]:
    """Processors, memory and GPUs."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _GIB
    yield Finding("cpu", "ok", f"{os.cpu_count()} cores, {memory:.0f} GiB of memory")
    import torch

    cuda: Any = torch.cuda
    if not cuda.is_available():
        detail = "none that torch can use: the embedded model runs well, a model of 1B parameters slowly"
        yield Finding("gpu", "note", detail, "for larger models use a machine with CUDA")
    for index in range(cuda.device_count()):
        gpu = cuda.get_device_properties(index)
        free, total = cuda.mem_get_info(index)
        yield Finding("gpu", "ok", f"{gpu.name}, {free / _GIB:.0f} of {total / _GIB:.0f} GiB free")


def keys(*, root: Path) -> Iterator[Finding]:
    """Which keys and paths are set, never their values, and whether .env is private."""
    settings = load_bucket_settings()
    present = [name for name in type(settings).model_fields if getattr(settings, name) is not None]
    absent = [name for name in Settings.model_fields if name not in present]
    for topic, names in (("set", present), ("not set", absent)):
        yield Finding(topic, "ok", ", ".join(name.upper() for name in names) or "none")
    for path in (root / ".env", root / ".dvc" / "config.local"):
        yield from _private(path, root)


def results(*, root: Path) -> Iterator[Finding]:
    """Whether DVC can read what it knows of the results; it writes two files in place, which a kill can cut."""
    if (cut := cut_lock(root)) is not None:
        yield Finding("rwlock", "failure", f"{cut.where} {cut.problem}", cut.remedy)
    outputs = tracked_outputs(root=root)
    yield Finding("dvc.lock", "ok", f"{len(outputs)} outputs, {sum(output.size for output in outputs) / _GIB:.2f} GiB")


def cache(*, root: Path) -> Iterator[Finding]:
    """Where DVC's cache is, and whether outputs cost their bytes once or twice."""
    found = cache_state(root=root)
    yield Finding("cache", "ok", f"{found.path}, {found.free / _GIB:.1f} GiB free")
    links = f"{found.used} (possible: {', '.join(found.possible)})"
    if found.used == "copy":
        remedy = "tight on disk: see `Links` in docs/remotes.md"
        yield Finding("links", "note", f"{links}: every output takes its space twice", remedy)
    elif found.used in ("hardlink", "symlink") and os.geteuid() == 0:
        remedy = "work as another user, or `dvc config --local --unset cache.type`"
        yield Finding("links", "note", f"{links}: root can write through a link into the cache", remedy)
    else:
        yield Finding("links", "ok", links)


def remotes(*, root: Path, offline: bool) -> Iterator[Finding]:
    """Where the remotes point, and whether they work."""
    for target in read_targets(root=root):
        keys_from = "none needed" if target.provider in ("folder", "public") else "AWS's own configuration"
        origin = ".dvc/config.local" if target.access_key_id else keys_from
        yield Finding(target.name, "ok", f"{target.url} ({target.provider}; keys: {origin})")
        if not offline or target.provider == "folder":
            yield from check_remote(target, root=root)
    default = default_remote(root=root)
    if default != "activations":
        detail = f"the default remote is {default}: the run cache is restored from the default only"
        yield Finding("default", "note", detail, "`dvc remote default activations`")
    if not (root / ".dvc" / AWS_CONFIG).exists():
        yield Finding("aws.conf", "note", "missing: uploads to R2 can fail", f"`git checkout .dvc/{AWS_CONFIG}`")


def _private(path: Path, root: Path) -> Iterator[Finding]:
    if not path.exists():
        return
    name = str(path.relative_to(root))
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        yield Finding("private", "note", f"{name} can be read by other users", f"`chmod 600 {name}`")
    listed = subprocess.run(["git", "ls-files", "--error-unmatch", name], cwd=root, capture_output=True, check=False)
    if listed.returncode == 0:
        remedy = f"`git rm --cached {name}`, replace its keys, and rewrite the history if it was pushed"
        yield Finding("private", "failure", f"git tracks {name}", remedy)
