import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(Path(__file__).parent))  # for the helpers beside the tests


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project of git and DVC without data."""
    import_module("dvc.utils.serialize")  # its loggers keep the streams of the moment: not CliRunner's, which close
    for name in ("params.yaml", "data/versions.yaml", ".gitignore", ".dvcignore", ".dvc/config"):
        if (ROOT / name).exists():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "data/own").mkdir()
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / ".site"))
    monkeypatch.chdir(tmp_path)
    return tmp_path
