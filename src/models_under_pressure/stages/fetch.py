"""Bring one source into data/raw as it is published."""

import shutil
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.section import Section, read
from models_under_pressure.datasets.origins import DOWNLOADS, OriginFile, fetch_origin, load_source

RAW = Path("data/raw")
DEMO = Path("data/demo")
OWN = Path("data/own")
"""Files of sources that cannot be downloaded (a login), one folder each."""
DEPLOYMENT = "deployment"
"""The prompts of the deployment sets, which belong to no dataset version."""


class Fetch(Section):
    """Where the sources come from."""

    source: str
    """`demo` (the corpus in data/demo), `hub` (download), or the path of a folder that holds one folder per source."""


def command(source: Annotated[str, typer.Argument(help="Name of the source, as in data/versions.yaml.")]) -> None:
    """Bring one source into data/raw as it is published.

    Example: mup fetch mt
    """
    # The first stage looks at the whole of data/versions.yaml, so that a mistake is told before anything runs. By name:
    # what is checked there shapes nothing that is fetched, so that its code is no dependency of this stage.
    import_module("models_under_pressure.datasets.lineage").load_lineage()
    files = () if source == DEPLOYMENT else load_source(source).files
    run(source, origin=read("fetch", Fetch).source, files=files)


def run(source: str, *, origin: str, files: tuple[OriginFile, ...]) -> None:
    """Copy a source from the demo corpus or from a folder, or download it; what was there before stays until then.

    Raises:
        UserError: there is no such folder, or a download fails.
    """
    RAW.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=RAW, prefix=".") as folder:
        new = Path(folder) / source
        if origin == "hub" and not files and (OWN / source).is_dir():
            _copy(OWN / source, new)
        elif origin == "hub":
            for line in fetch_origin(files, new, downloads=DOWNLOADS):
                print(f"not pinned yet, put its sha256 into data/versions.yaml: {line}", file=sys.stderr)
        else:
            _copy((DEMO if origin == "demo" else Path(origin)) / source, new)
        target = RAW / source
        shutil.rmtree(target, ignore_errors=True)
        new.rename(target)


def _copy(folder: Path, target: Path) -> None:
    if not folder.is_dir():
        raise UserError(
            "no such folder.",
            where=str(folder),
            remedy="set `fetch.source` in params.yaml to `demo`, to `hub`, or to a folder that holds it; the paper's "
            "published files are used with `mup datasets use published`.",
        )
    shutil.copytree(folder, target)
