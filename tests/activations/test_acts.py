"""`mup acts` as a user types it."""

import shutil

import pytest
from dvc.cli import main as dvc
from typer.testing import CliRunner

from models_under_pressure.activations.store import dataset_files, entries, open_store, partial_path, store_path
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.records import write_records
from models_under_pressure.tools.acts import app


@pytest.fixture
def mup(tmp_path, monkeypatch):
    """Run `mup acts` in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ACTIVATIONS_DIR", raising=False)

    def run(*arguments):
        result = CliRunner().invoke(app, list(map(str, arguments)))
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


@pytest.fixture
def stored(mup, model_directory, chats, tmp_path):
    """Two datasets at two layers."""
    for name, records in (("one", chats[:5]), ("two", chats[5:])):
        write_records(tmp_path / f"{name}.jsonl", records)
    model = model_directory("llama")
    arguments = ("store", "--model", model, "--dataset", tmp_path / "*.jsonl", "--layers", "1,3", "--dtype", "float32")
    return arguments, mup(*arguments), tmp_path / "data/activations" / model.name


def test_store_extracts_every_layer_of_every_file_of_a_pattern(stored, chats):
    _, result, root = stored
    assert [line.split()[0] for line in result.output.splitlines()] == ["written"] * 4
    store = open_store(root / "two/layer_3.zarr")
    assert store.ids == sorted(record.id for record in chats[5:])


def test_layers_counted_from_the_end_are_stored_under_their_own_numbers(mup, model_directory, chats, tmp_path):
    write_records(tmp_path / "one.jsonl", chats[:3])
    model = model_directory("llama")
    arguments = ("store", "--model", model, "--dataset", "one.jsonl", "--dtype", "float32", "--layer")
    root = f"data/activations/{model.name}/one"
    assert mup(*arguments, "-1,3,-2").output.splitlines() == [
        f"written  {root}/layer_3.zarr",
        f"written  {root}/layer_4.zarr",
    ]
    assert open_store(tmp_path / root / "layer_4.zarr").attributes["layer"] == 4
    assert mup("verify", f"{root}/layer_4.zarr", "--sample", "2").output.count("identical") == 1
    with pytest.raises(UserError, match="has no layer -6"):
        mup(*arguments, "-6")


def test_store_skips_what_exists_with_the_same_content(stored, mup, chats, tmp_path):
    arguments, _, _ = stored
    assert mup(*arguments).output.count("exists") == 4
    write_records(tmp_path / "one.jsonl", chats[:4])
    again = mup(*arguments).output
    assert again.count("exists") == 2
    assert again.count("written") == 2


def test_stores_go_below_activations_dir(mup, model_directory, chats, tmp_path, monkeypatch):
    monkeypatch.setenv("ACTIVATIONS_DIR", str(tmp_path / "elsewhere"))
    write_records(tmp_path / "one.jsonl", chats[:3])
    mup("store", "--model", model_directory("llama"), "--dataset", "one.jsonl", "--layer", "2", "--keep", "mean")
    assert open_store(tmp_path / "elsewhere" / model_directory("llama").name / "one/layer_2.zarr").offsets[-1] == 3


def test_list_shows_counts_settings_and_unfinished_stores(stored, mup):
    _, _, root = stored
    (root / "one/layer_1.zarr").rename(partial_path(root / "one/layer_1.zarr"))
    output = mup("list").output
    assert output.count("residual, tokens, float32") == 3
    assert output.count("unfinished") == 1
    assert mup("list", "--layer", "3", "--dataset", "two").output.count("layer_3.zarr") == 1


def test_delete_takes_what_is_named_and_nothing_else(stored, mup):
    _, _, root = stored
    assert "would delete" in mup("delete", "--layer", "1", "--dry-run").output
    assert len(list(entries(root.parent))) == 4
    mup("delete", "--layer", "1", "--dataset", "one")
    assert {(entry.dataset, entry.layer) for entry in entries(root.parent)} == {("one", 3), ("two", 1), ("two", 3)}
    with pytest.raises(UserError, match="nothing is named"):
        mup("delete")


def test_verify_compares_checksums_and_a_sample_with_the_model(stored, mup):
    _, _, root = stored
    output = mup("verify", root / "two/layer_3.zarr", "--sample", "3").output
    assert "checksums agree; 3 of 3 conversations identical" in output.replace("\n", " ")
    shard = root / "two/layer_3.zarr/activations/c/0/0"
    data = bytearray(shard.read_bytes())
    data[100] ^= 1
    shard.write_bytes(data)
    with pytest.raises(UserError, match=r"activations/c/0/0"):
        mup("verify", "--dataset", "two", "--layer", "3")


def test_names_of_files_and_models_become_paths(tmp_path):
    assert store_path(tmp_path, "a/b", tmp_path / "mt_dev.jsonl", 3) == tmp_path / "a/b/mt_dev/layer_3.zarr"


def test_two_files_of_one_name_would_share_a_store(tmp_path):
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "test.jsonl").touch()
    with pytest.raises(UserError, match="share a store"):
        dataset_files([str(tmp_path / "*/test.jsonl")])
    with pytest.raises(UserError, match="no file of this name"):
        dataset_files([str(tmp_path / "none*.jsonl")])


def test_a_wrong_list_of_layers_is_explained(mup):
    with pytest.raises(UserError, match="'1;2' is not a list of layers"):
        mup("store", "--model", "m", "--dataset", "x", "--layer", "1;2")


@pytest.mark.slow
def test_sync_pushes_what_is_here_and_brings_back_what_was_deleted(stored, mup, tmp_path, capfd):
    _, _, root = stored
    assert dvc(["init", "-q", "--no-scm"]) == 0
    assert dvc(["remote", "add", "-q", "activations", str(tmp_path / "remote")]) == 0
    kept = root / "one/layer_1.zarr"
    before = {file: file.read_bytes() for file in kept.rglob("*") if file.is_file()}
    mup("sync")
    assert len(list((tmp_path / "remote").rglob("*.dir"))) == 4
    shutil.rmtree(kept)
    mup("sync")
    assert {file: file.read_bytes() for file in kept.rglob("*") if file.is_file()} == before
    open_store(kept).verify()
