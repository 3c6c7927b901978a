"""Stage `fetch`: bring one source into data/raw as it is published."""

import shutil
from pathlib import Path

from models_under_pressure.errors import UserError

RAW = Path("data/raw")
DEMO = Path("data/demo")


def run(source: str, *, origin: str) -> None:
    """Copy the files of `source` from the demo corpus, or from a folder that holds one folder per source.

    Raises:
        UserError: there is no such folder.
    """
    folder = (DEMO if origin == "demo" else Path(origin)) / source
    if not folder.is_dir():
        raise UserError(
            "no such folder.", where=str(folder), remedy="set `fetch.source` in params.yaml to `demo` or to a folder."
        )
    target = RAW / source
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(folder, target)
