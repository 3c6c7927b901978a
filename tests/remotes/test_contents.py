"""Which outputs are whole, where."""

import shutil

import pytest
from remote_projects import clone

from models_under_pressure.remotes.contents import contents

pytestmark = pytest.mark.slow

STORE = "data/activations/other/mine/layer_1.zarr"


@pytest.fixture
def twins(project, rclone, buckets):
    """A project with a folder of two equal files beside a third, not pushed yet."""
    for bucket in buckets:
        rclone.make_bucket(bucket)
    project.use(rclone, buckets)
    project.mup("remote", "r2", "--offline")
    store = project.path / STORE
    store.mkdir(parents=True)
    for name, content in (("a", b"same" * 100), ("b", b"same" * 100), ("c", b"other")):
        (store / name).write_bytes(content)
    project.dvc("add", STORE)
    return project


def status_of(project):
    (found,) = [status for status in contents(root=project.path) if status.output.path == STORE]
    return found


def test_a_folder_with_two_equal_files_is_whole(twins, rclone, buckets):
    """The two are one object, and each counts in the size that dvc.lock or a .dvc file gives."""
    assert status_of(twins).output.size == 805
    assert (status_of(twins).cached, status_of(twins).stored) == (True, "absent")
    twins.dvc("push")
    assert (status_of(twins).cached, status_of(twins).stored) == (True, "whole")
    assert twins.mup("remote", "status").returncode == 0
    (equal,) = [key for key, content in rclone.objects(buckets[1]).items() if content == b"same" * 100]
    rclone.put(buckets[1], equal, b"same")
    assert status_of(twins).stored == "damaged"
    twins.mup("remote", "repair")
    assert status_of(twins).stored == "whole"


def test_many_lost_outputs_are_counted_and_the_first_named(finished, tmp_path):
    b = clone(finished, tmp_path / "b")
    stages = "".join(
        f"  many{n}:\n    cmd: echo {n} > data/many{n}\n    deps:\n      - make.py\n    outs:\n      - data/many{n}\n"
        for n in range(12)
    )
    with (b.path / "dvc.yaml").open("a") as stream:
        stream.write(stages)
    b.dvc("repro")
    shutil.rmtree(b.path / ".dvc/cache")
    short = b.mup("remote", "status", check=False)
    assert short.returncode == 1
    assert short.output.count("\nlost: ") == 8
    assert "and 8 more: `mup remote status --all` names them" in short.output
    assert short.output.count("Remedy for what is lost") == 1
    assert b.mup("remote", "status", "--all", check=False).output.count("\nlost: ") == 16
