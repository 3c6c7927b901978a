"""`mup acts sync`: stores of the pipeline and stores that no stage made, whole or one at a time."""

import os

import pytest
from remote_projects import LAYER, clone

pytestmark = pytest.mark.slow

OWN = "data/activations/other/mine/layer_{layer}.zarr"


@pytest.fixture
def shared(project, rclone, buckets):
    """The project with two finished stores of a user's own, and one that is unfinished; remotes set up."""
    for bucket in buckets:
        rclone.make_bucket(bucket)
    project.use(rclone, buckets)
    project.mup("remote", "r2", "--offline")
    for layer in (1, 2):
        store = project.path / OWN.format(layer=layer)
        store.mkdir(parents=True)
        (store / "c0").write_bytes(os.urandom(100_000))
        (store / "manifest.json").write_text("{}")
    (project.path / f"{OWN.format(layer=7)}.partial").mkdir()
    for dataset in ("mt", "mts"):  # as the real stage does
        (project.path / LAYER.format(dataset=dataset, layer=3) / "manifest.json").write_text("{}")
    project.dvc("commit", "--force")
    project.commit("finished stores")
    return project


def stores(project):
    """Folders that hold files; that of .dvc files counts."""
    return {name.rpartition("/")[0] for name in project.files() if name.startswith("activations/")}


def test_stores_of_stages_and_of_users_reach_a_colleague(shared, tmp_path):
    shown = shared.mup("acts", "sync").output
    assert f"new to DVC: {OWN.format(layer=1)}.dvc (commit it)" in shown
    assert LAYER.format(dataset="mt", layer=3) not in shown, "a stage's store is known already"
    tracked = shared.git("status", "--porcelain", "-uall").splitlines()
    assert tracked == [f"?? {OWN.format(layer=layer)}.dvc" for layer in (1, 2)]
    shared.commit("own stores")
    b = clone(shared, tmp_path / "b")
    b.mup("remote", "r2", "--offline")
    b.mup("acts", "sync")
    wanted = {name: content for name, content in shared.files().items() if name.startswith("activations/")}
    assert {name: content for name, content in b.files().items() if name.startswith("activations/")} == wanted
    assert b.git("status", "--porcelain", "-uall") == ""


def test_one_layer_of_one_dataset_is_synced_alone(shared, rclone, buckets, tmp_path):
    shared.mup("acts", "sync", "--model", "other", "--dataset", "mine", "--layer", "2")
    keys = rclone.objects(buckets[1])
    assert len(keys) == 3, "a listing and two files"
    shared.commit("own store")
    shared.mup("acts", "sync")
    shared.commit("own stores")
    b = clone(shared, tmp_path / "b")
    b.mup("remote", "r2", "--offline")
    b.mup("acts", "sync", "--dataset", "mts", "--layers", "3,4")
    assert stores(b) == {"activations/toy/mts/layer_3.zarr", "activations/other/mine"}
    b.mup("acts", "sync", "--model", "other", "--layer", "1")
    assert stores(b) == {
        "activations/toy/mts/layer_3.zarr",
        "activations/other/mine/layer_1.zarr",
        "activations/other/mine",
    }


def test_stores_inside_one_output_go_with_it_and_come_one_by_one(shared, tmp_path):
    """As `extract_layers` writes them: one folder with several layers."""
    name = "data/activations/toy/layers"
    make = f"import pathlib; [(p := pathlib.Path(f'{name}/layer_{{n}}.zarr')).mkdir(parents=True) or "
    make += "[(p / f).write_text(f'{n} {f}') for f in ('c0', 'manifest.json')] for n in (4, 8)]"
    with (shared.path / "dvc.yaml").open("a") as stream:
        stream.write(f'  layers:\n    cmd: ${{python}} -c "{make}"\n    deps:\n      - make.py\n')
        stream.write(f"    outs:\n      - {name}:\n          remote: activations\n")
    shared.dvc("repro", "layers")
    shown = shared.mup("acts", "sync", "--dataset", "layers").output
    assert "new to DVC" not in shown
    shared.commit("layers")
    b = clone(shared, tmp_path / "b")
    b.mup("remote", "r2", "--offline")
    b.mup("acts", "sync", "--dataset", "layers", "--layer", "8")
    assert stores(b) == {"activations/toy/layers/layer_8.zarr"}
    b.mup("acts", "sync", "--dataset", "layers")
    assert stores(b) == {f"activations/toy/layers/layer_{layer}.zarr" for layer in (4, 8)}


def test_a_sync_that_fails_says_where_to_look(shared, buckets):
    shared.environment["AWS_MAX_ATTEMPTS"] = "1"
    shared.edit(".dvc/config.local", buckets[1], "no-such-bucket")
    failed = shared.mup("acts", "sync", "--dataset", "mine", "--layer", "1", check=False)
    assert failed.returncode == 1
    assert "`dvc push` failed; its message is above. Remedy: `mup remote test`" in failed.output.replace("\n", " ")


def test_one_dataset_of_a_stages_folder_of_one_layer_is_pulled_alone(project, rclone, buckets, tmp_path):
    for bucket in buckets:
        rclone.make_bucket(bucket)
    project.use(rclone, buckets)
    project.mup("remote", "r2", "--offline")
    name = "data/activations/toy/layer_9"
    make = f"import pathlib; [(p := pathlib.Path(f'{name}/{{n}}.zarr')).mkdir(parents=True) or "
    names = ("dev/mt_dev", "test/mt_test", "dev/layer_4/mt_dev")
    make += f"[(p / f).write_text(f'{{n}} {{f}}') for f in ('c0', 'manifest.json')] for n in {names}]"
    with (project.path / "dvc.yaml").open("a") as stream:
        stream.write(f'  layer:\n    cmd: ${{python}} -c "{make}"\n    deps:\n      - make.py\n')
        stream.write(f"    outs:\n      - {name}:\n          remote: activations\n")
    project.dvc("repro", "layer")
    project.commit("a layer")
    project.mup("acts", "sync", "--layer", "9")
    b = clone(project, tmp_path / "b")
    b.mup("remote", "r2", "--offline")
    b.mup("acts", "sync", "--dataset", "mt_dev", "--layer", "9")
    assert {name for name in stores(b) if "layer_9" in name} == {"activations/toy/layer_9/dev/mt_dev.zarr"}
    b.mup("acts", "sync", "--layer", "4")  # a layer that a probe reads beside that one
    added = {name for name in stores(b) if "layer_9" in name} - {"activations/toy/layer_9/dev/mt_dev.zarr"}
    assert added == {"activations/toy/layer_9/dev/layer_4/mt_dev.zarr"}
