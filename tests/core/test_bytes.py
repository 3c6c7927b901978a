"""The same bytes on every machine: line ends that git would change, and files that desktops leave."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXTS = {
    "code.py": b"x = 1\n",
    "params.yaml": b"a: 1\n",
    "data/demo/raw.csv": b"a,b\r\n1,2\r\n",
    "mixed.txt": b"a\r\nb\n",
    "replies.jsonl": b"{}\n{}\n",
}


def git(folder, *arguments):
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments], cwd=folder, check=True)


@pytest.fixture
def origin(tmp_path):
    folder = tmp_path / "origin"
    for name, content in TEXTS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    git(tmp_path, "init", "-q", "origin")
    return folder


def cloned(origin, *options):
    git(origin, "add", "-A")
    git(origin, "commit", "-q", "-m", "all")
    git(origin.parent, "clone", "-q", *options, str(origin), "clone")
    return {name: (origin.parent / "clone" / name).read_bytes() for name in TEXTS}


@pytest.mark.parametrize("option", ["core.autocrlf=true", "core.autocrlf=input", "core.eol=crlf"])
def test_a_clone_has_the_bytes_that_were_committed_whatever_git_is_told(option, origin):
    (origin / ".gitattributes").write_bytes((ROOT / ".gitattributes").read_bytes())
    assert cloned(origin, "-c", option) == TEXTS
    changed = subprocess.run(
        ["git", "status", "--porcelain"], cwd=origin.parent / "clone", capture_output=True, check=True
    )
    assert changed.stdout == b""


def test_without_the_attributes_it_would_not(origin):
    assert cloned(origin, "-c", "core.autocrlf=true") != TEXTS


@pytest.mark.parametrize("junk", [".DS_Store", "._c0", "Thumbs.db", "desktop.ini", ".directory", ".nfs000001"])
def test_what_a_desktop_leaves_in_a_folder_is_nothing_to_dvc(junk, tmp_path):
    from dvc.fs import LocalFileSystem
    from dvc.ignore import DvcIgnoreFilter

    (tmp_path / ".dvcignore").write_bytes((ROOT / ".dvcignore").read_bytes())
    store = tmp_path / "data/activations/m/layer_1/dev/a.zarr/roles"
    store.mkdir(parents=True)
    ignore = DvcIgnoreFilter(LocalFileSystem(url=str(tmp_path)), str(tmp_path))
    assert ignore.is_ignored_file(str(store / junk))
    assert not ignore.is_ignored_file(str(store / "zarr.json"))
    assert not ignore.is_ignored_file(str(store / "c" / "0"))
