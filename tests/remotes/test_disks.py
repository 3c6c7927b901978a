"""Disks that are full or cannot be written: nothing half-finished is taken for finished, and repeating mends it."""

import contextlib
import os
import shutil
import subprocess
from types import SimpleNamespace

import pytest
from remote_projects import Project, clone
from test_faults import assert_whole, cached

from models_under_pressure.core.errors import disk_error
from models_under_pressure.tools import _planned_run
from models_under_pressure.tools.doctor import or_failure

pytestmark = pytest.mark.slow


@pytest.fixture
def small_disk(tmp_path):
    """A disk in memory, and a function that changes its options."""
    folder = tmp_path / "small"
    folder.mkdir()
    root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if not shutil.which("mount") or (root and not shutil.which("sudo")):
        pytest.skip("there is no way to mount a disk here")
    mount = [*root, "mount", "-t", "tmpfs", "-o"]
    made = subprocess.run([*mount, "size=900k,mode=0777", "tmpfs", str(folder)], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("mounting a disk is not permitted here")

    def remount(options):
        subprocess.run([*root, "mount", "-o", f"remount,{options}", str(folder)], check=True)

    yield SimpleNamespace(path=folder, remount=remount)
    subprocess.run([*root, "umount", "-l", str(folder)], check=True)


def fill(folder):
    """Use up the space of a disk."""
    with contextlib.suppress(OSError), (folder / "filler").open("wb") as stream:
        while True:
            stream.write(bytes(4096))
            stream.flush()


def test_a_pull_onto_a_full_disk_is_repeated_when_there_is_space(project, rclone, buckets, small_disk, tmp_path):
    for bucket in buckets:
        rclone.make_bucket(bucket)
    project.use(rclone, buckets)
    project.mup("remote", "r2", "--offline")
    project.dvc("push")
    b = clone(project, tmp_path / "b")
    b.mup("remote", "r2", "--offline")
    b.dvc("cache", "dir", "--local", str(small_disk.path / "cache"))
    failed = b.dvc("pull", check=False)
    assert failed.returncode != 0
    assert "No space left" in failed.output
    (b.path / ".dvc/cache").symlink_to(small_disk.path / "cache")
    assert_whole(cached(b))
    assert not b.is_clean()
    small_disk.remount("size=20m")
    b.dvc("pull")
    assert b.files() == project.files()
    assert b.is_clean()
    assert_whole(cached(b))


def test_a_run_on_a_full_disk_is_repeated_when_there_is_space(finished, small_disk, tmp_path):
    """DVC ends with status 0 although the cache lacks an output: both kinds of status tell, and a repetition mends."""
    b = clone(finished, tmp_path / "b")
    b.dvc("cache", "dir", "--local", str(small_disk.path / "cache"))
    assert "No space left" in b.dvc("repro", check=False).output
    assert "not in cache" in b.dvc("status").output
    lost = b.mup("remote", "status", check=False)
    assert lost.returncode == 1
    assert "`dvc commit` where the project still has it" in lost.output
    small_disk.remount("size=20m")
    b.dvc("repro")
    assert b.files() == finished.files()
    assert b.is_clean()
    assert b.git("status", "--porcelain") == ""


@pytest.fixture
def on_small_disk(finished, small_disk, tmp_path):
    """A project on the small disk, set up once."""
    small_disk.remount("size=4m")
    finished.git("clone", "-q", str(finished.path), str(small_disk.path / "p"))
    project = Project(small_disk.path / "p", tmp_path / "home-small")
    for name, value in (
        ("R2_ACCESS_KEY_ID", "k"),
        ("R2_SECRET_ACCESS_KEY", "s" * 5000),
        ("R2_DATASETS_BUCKET", "d"),
        ("R2_ACTIVATIONS_BUCKET", "a"),
        ("R2_ENDPOINT_URL", "https://localhost:9"),
    ):
        project.environment[name] = value
    (project.path / ".dvc/config.local").write_text("[cache]\n    dir = /mnt/cache\n")
    return project


def test_a_full_disk_loses_no_setting_of_the_remotes(on_small_disk, small_disk):
    project, path = on_small_disk, on_small_disk.path / ".dvc/config.local"
    project.mup("remote", "status", "--offline")  # whatever DVC makes at its start is there
    before = path.read_text()
    fill(small_disk.path)
    failed = project.mup("remote", "r2", "--offline", check=False)
    assert failed.returncode == 1
    assert failed.output.startswith("mup: ")
    assert "the disk is full. Remedy: free some space" in failed.output
    assert path.read_text() == before
    assert not list((project.path / ".dvc/tmp").glob("config.local*"))
    (small_disk.path / "filler").unlink()
    project.mup("remote", "r2", "--offline")
    assert "/mnt/cache" in path.read_text()


def test_a_disk_that_cannot_be_written_is_said_in_one_line(on_small_disk, small_disk):
    small_disk.remount("ro")
    failed = on_small_disk.mup("remote", "r2", "--offline", check=False)
    assert failed.returncode == 1
    assert "not permitted (Read-only file system). Remedy: check the rights" in failed.output
    shown = on_small_disk.mup("remote", "status", "--offline")
    assert "datasets" in shown.output
    page = on_small_disk.mup("doctor", "--offline", check=False)
    assert page.returncode == 1
    assert "Read-only file system" in page.output
    assert "planned run" in page.output, "the page goes on"
    small_disk.remount("rw")


def test_errors_of_other_kinds_stay_what_they_are():
    assert disk_error(FileNotFoundError(2, "No such file", "x")) is None

    def findings():
        raise FileNotFoundError(2, "No such file", "x")
        yield

    with pytest.raises(FileNotFoundError):
        list(or_failure(findings()))


def test_a_shelf_on_another_disk_costs_one_more_copy(small_disk, tmp_path, monkeypatch):
    monkeypatch.setenv("MUP_STORES", str(tmp_path / "stores"))
    assert "may be deleted" in _planned_run._shelf(tmp_path).detail
    monkeypatch.setenv("MUP_STORES", str(small_disk.path / "stores"))
    found = _planned_run._shelf(tmp_path)
    assert found.state == "note"
    assert "one more copy" in found.detail
    assert "MUP_STORES" in found.remedy
