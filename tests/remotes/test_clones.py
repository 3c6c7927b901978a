"""Two colleagues share results through buckets."""

import json

import pytest
from remote_projects import LAYER, clone, stages_run

pytestmark = pytest.mark.slow


@pytest.fixture
def shared(project, server, buckets):
    """The project after its push."""
    for bucket in buckets:
        server.make_bucket(bucket)
    project.use(server, buckets)
    project.mup("remote", "r2")
    project.dvc("push", "--run-cache")
    return project


def hashes(project, prefix):
    """Hashes in dvc.lock of the outputs below a folder, those of files inside folders included."""
    found = set()
    for path in (project.path / ".dvc/cache/files/md5").glob("*/*.dir"):
        found |= {entry["md5"] for entry in json.loads(path.read_bytes())} | {path.parent.name + path.name}
    lock = (project.path / "dvc.lock").read_text()
    singles = {line.split(": ")[1] for line in lock.splitlines() if line.strip().startswith("md5:")}
    dirs = {hash_ for hash_ in singles if hash_.endswith(".dir")}
    return found if prefix == "activations" else singles - dirs - found


def test_what_one_pushes_another_pulls(shared, server, buckets, tmp_path):
    b = clone(shared, tmp_path / "b")
    b.mup("remote", "r2", "--offline")
    b.dvc("pull")
    assert b.files() == shared.files()
    assert b.is_clean()
    assert stages_run(b.dvc("repro").output) == set()
    assert b.git("status", "--porcelain") == ""


def test_each_output_lies_in_the_bucket_of_its_remote(shared, server, buckets):
    stored = [set(server.objects(bucket)) for bucket in buckets]
    evals = {f"dvc/files/md5/{name[:2]}/{name[2:]}" for name in hashes(shared, "datasets")}
    layers = {f"dvc/files/md5/{name[:2]}/{name[2:]}" for name in hashes(shared, "activations")}
    assert {key for key in stored[0] if "/files/" in key} <= evals
    assert len({key for key in stored[0] if "/files/" in key}) == 2
    assert {key for key in stored[1] if "/files/" in key} == layers
    assert any(key.startswith("dvc/runs/") for key in stored[1]), "the run cache is on the default remote"
    assert not any(".mup-test" in key for keys in stored for key in keys), "the trial was deleted"


@pytest.mark.parametrize("server", ["rclone"], indirect=True)  # it is about DVC, not the server
def test_one_layer_of_one_dataset_can_be_pulled(shared, server, tmp_path):
    b = clone(shared, tmp_path / "b")
    b.mup("remote", "r2", "--offline")
    wanted = LAYER.format(dataset="mts", layer=3)
    b.dvc("pull", wanted)
    assert {f"data/{name}" for name in b.files()} == {f"{wanted}/c{part}" for part in range(3)}


@pytest.mark.parametrize("server", ["rclone"], indirect=True)  # it is about DVC, not the server
def test_a_colleague_gets_a_layer_that_another_extracted_without_extracting(shared, server, tmp_path):
    shared.edit("params.yaml", "layer: 3", "layer: 5")
    shared.dvc("repro")
    shared.commit("layer 5")
    shared.dvc("push", "--run-cache")
    shared.git("checkout", "-q", "HEAD~1")
    b = clone(shared, tmp_path / "b")
    b.mup("remote", "r2", "--offline")
    assert stages_run(b.dvc("repro", "--pull", "--allow-missing").output) == set(), "nothing in an untouched clone"
    b.edit("params.yaml", "layer: 3", "layer: 5")
    ran = stages_run(b.dvc("repro", "--pull", "--allow-missing").output)
    assert not {name for name in ran if name.startswith(("relabel", "extract"))}
    shared.git("checkout", "-q", "main")
    assert (b.path / "metrics/summary.json").read_text() == (shared.path / "metrics/summary.json").read_text()
