import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from repositories import OLD, TODAY, Repository, make_repository
from snapshots import known, snapshot


@pytest.fixture(scope="session")
def templates(tmp_path_factory, warm_path):
    """Form -> a repository of it, made once."""
    made = {}
    for form, files in {"old": OLD, "today": TODAY}.items():
        folder = tmp_path_factory.mktemp(form) / "repository"
        folder.mkdir()
        with pytest.MonkeyPatch.context() as patch:
            _isolate(patch, folder.parent / "site", warm_path)
            patch.chdir(folder)
            made[form] = make_repository(folder, files)
    return made


@pytest.fixture
def place(templates, tmp_path, monkeypatch, warm_path):
    """Enter a copy of the repository of one form."""

    def enter(form):
        _isolate(monkeypatch, tmp_path / "site", warm_path)
        shutil.copytree(templates[form], tmp_path / "repository")
        monkeypatch.chdir(tmp_path / "repository")
        return Repository()

    return enter


def _isolate(patch, site, path):
    for name in ("AUTHOR", "COMMITTER"):
        patch.setenv(f"GIT_{name}_NAME", "test")
        patch.setenv(f"GIT_{name}_EMAIL", "test@example.com")
    patch.setenv("DVC_NO_ANALYTICS", "1")
    patch.setenv("DVC_SITE_CACHE_DIR", str(site))
    patch.setenv("PYTHONPATH", str(Path(__file__).parents[2] / "src"))
    patch.setenv("PATH", path)


@pytest.fixture(params=["old", "today"])
def repository(request, place):
    """A repository of each form."""
    return place(request.param)


@pytest.fixture
def old(place):
    return place("old")


@pytest.fixture
def today(place):
    return place("today")


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """Enter a fresh clone of the repository at hand."""

    def enter(repository):
        repository.run("git", "clone", "-q", ".", str(tmp_path / "clone"))
        monkeypatch.chdir(tmp_path / "clone")
        return repository

    return enter


@pytest.fixture
def base():
    """A commit with its scores."""
    return snapshot()


@pytest.fixture
def silent(base):
    """A commit whose scores are out of reach, with its intervals."""
    return replace(base, scores=[], contents={"mt_dev": "c1"}, metrics={"mt_dev": {"mean": known(0.8)}})
