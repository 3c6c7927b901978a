"""Which stores are in a folder, what their paths name, and what is deleted with them."""

import numpy as np
import pytest
from platformdirs import user_cache_path

from models_under_pressure.activations import store as library
from models_under_pressure.activations.store import (
    Entry,
    dataset_files,
    discard_stale,
    entries,
    layer_number,
    partial_path,
    remove,
    shelf_path,
    store_path,
)
from models_under_pressure.activations.writer import Layout, StoreWriter
from models_under_pressure.core.errors import UserError

STORES = {
    "a/b/mt/layer_3.zarr": ("a/b", "mt", 3),
    "tiny/mt/layer_12.zarr": ("tiny", "mt", 12),
    "tiny/layer_11/dev/mt.zarr": ("tiny", "mt", 11),
    "tiny/layer_11/dev/layer_5/other.zarr": ("tiny", "other", 5),
}


@pytest.fixture
def root(tmp_path):
    """Stores that are finished by their manifest, and others that are none."""
    for name in STORES:
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "manifest.json").touch()
    for name in ("x.zarr", "tiny/mt/x.zarr", "layer_3/mt.zarr", "tiny/mt/layer_-1.zarr", "tiny/mt/layer_4.zarrs"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "tiny/mt/layer_3.zarr.dvc").touch()
    return tmp_path


def test_every_store_below_a_folder_is_found_with_what_its_path_names(root):
    found = list(entries(root))
    assert [entry.path for entry in found] == sorted(root / name for name in STORES)
    assert {str(one.path.relative_to(root)): (one.model, one.dataset, one.layer) for one in found} == STORES
    assert all(entry.finished for entry in found)


def test_a_store_whose_making_was_cut_off_is_found_once_and_is_not_finished(root):
    (root / "tiny/mt/layer_2.zarr.partial").mkdir()
    (root / "tiny/mt/layer_12.zarr.partial").mkdir()
    found = {entry.layer: entry for entry in entries(root, model="tiny", datasets=["mt"])}
    assert {layer: entry.finished for layer, entry in found.items()} == {2: False, 11: True, 12: True}
    assert len(list(entries(root))) == len(STORES) + 1
    assert found[2].summary == "unfinished; the same command continues it"


@pytest.mark.parametrize(
    ("filters", "layers"),
    [
        ({"model": "a/b"}, [3]),
        ({"model": "tiny"}, [11, 5, 12]),
        ({"model": "/models/tiny"}, [11, 5, 12]),
        ({"model": "b"}, []),
        ({"datasets": ["mt"]}, [3, 11, 12]),
        ({"datasets": ["other", "none"]}, [5]),
        ({"layers": [3, 5]}, [3, 5]),
        ({"model": "tiny", "datasets": ["mt"], "layers": [12]}, [12]),
        ({"model": "tiny", "datasets": ["other"], "layers": [12]}, []),
    ],
)
def test_only_stores_that_match_every_filter_are_given(filters, layers, root):
    assert sorted(entry.layer for entry in entries(root, **filters)) == sorted(layers)


def test_deleting_a_store_takes_what_is_unfinished_and_its_dvc_file_and_leaves_the_rest(root):
    path = root / "tiny/mt/layer_12.zarr"
    partial_path(path).mkdir()
    path.with_name("layer_12.zarr.dvc").touch()
    before = {one for one in root.rglob("*") if "layer_12" not in str(one)}
    (entry,) = entries(root, layers=[12])
    remove(entry)
    assert set(root.rglob("*")) == before
    remove(entry)
    assert set(root.rglob("*")) == before


def test_a_summary_counts_records_tokens_and_bytes(tmp_path):
    plan = Layout(
        attributes={"records": 2, "tokens": 5, "hook_point": "residual", "keep": "tokens", "compute_dtype": "float32"},
        ids=["a", "b"],
        offsets=np.array([0, 2, 5]),
        token_ids=np.arange(5, dtype=np.int32),
        roles=np.zeros(5, np.int8),
        hidden=4,
        dtype=np.dtype(np.uint16),
    )
    path = tmp_path / "m/d/layer_1.zarr"
    writer = StoreWriter(path, plan)
    writer.write(0, np.ones((5, 4), np.uint16))
    (entry,) = entries(tmp_path)
    assert not entry.finished
    writer.finish()
    (entry,) = entries(tmp_path)
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file() and file.name != "manifest.json")
    records, tokens, megabytes = "       2 records", "           5 tokens", f"{size / 1e6:10.1f} MB"
    assert entry == Entry(path, "m", "d", 1, finished=True)
    assert entry.summary == f"{records} {tokens} {megabytes}  residual, tokens, float32"


def test_a_store_goes_by_the_name_of_its_model_and_its_dataset(tmp_path):
    (tmp_path / "models/tiny").mkdir(parents=True)
    assert store_path(tmp_path, str(tmp_path / "models/tiny"), "mt", 3) == tmp_path / "tiny/mt/layer_3.zarr"
    assert store_path(tmp_path, "meta/tiny", tmp_path / "mt.x.jsonl", 11) == tmp_path / "meta/tiny/mt.x/layer_11.zarr"
    assert store_path(tmp_path, "meta/tiny", "mt.x", 11) == tmp_path / "meta/tiny/mt.x/layer_11.zarr"


@pytest.mark.parametrize(
    ("name", "number"), [("layer_0", 0), ("layer_16", 16), ("layer_", None), ("layer_x", None), ("16", None)]
)
def test_the_number_of_a_layer_is_what_stands_after_its_name(name, number):
    assert layer_number(name) == number


def test_the_shelf_is_where_the_variable_says_or_in_the_cache_of_the_user(monkeypatch, tmp_path):
    monkeypatch.setenv("MUP_STORES", str(tmp_path))
    assert shelf_path() == tmp_path
    monkeypatch.delenv("MUP_STORES")
    assert shelf_path() == user_cache_path("models-under-pressure") / "stores"


@pytest.fixture
def shelved(tmp_path, monkeypatch):
    """A store on the shelf, made by the code `now`."""
    monkeypatch.setattr(library, "code_fingerprint", lambda: "now")

    def shelved(code):
        path = tmp_path / "shelf" / "a.zarr"
        plan = Layout(
            attributes={} if code is None else {"code": code},
            ids=["a"],
            offsets=np.array([0, 2]),
            token_ids=np.zeros(2, np.int32),
            roles=np.zeros(2, np.int8),
            hidden=4,
            dtype=np.dtype(np.uint16),
        )
        writer = StoreWriter(path, plan)
        writer.write(0, np.ones((2, 4), np.uint16))
        writer.finish()
        return path

    return shelved


@pytest.mark.parametrize(("code", "stays"), [("now", True), ("before", False), (None, False)])
def test_only_a_store_of_this_code_stays_on_the_shelf(code, stays, shelved):
    path = shelved(code)
    discard_stale(path)
    assert path.exists() == stays


def test_a_damaged_store_does_not_stay_on_the_shelf(shelved):
    path = shelved("now")
    shard = path / "activations/c/0/0"
    shard.write_bytes(b"\0" * shard.stat().st_size)
    discard_stale(path)
    assert not path.exists()


def test_a_store_that_is_not_finished_stays_on_the_shelf_to_be_continued(shelved):
    path = shelved("before")
    (path / "manifest.json").unlink()
    discard_stale(path)
    assert path.exists()


def test_patterns_name_each_file_once_in_the_order_given(tmp_path):
    for name in ("b.jsonl", "a.jsonl", "deep/er/c.jsonl"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    patterns = [tmp_path / "**/c.jsonl", tmp_path / "b.jsonl", tmp_path / "*"]
    assert dataset_files(list(map(str, patterns))) == [
        tmp_path / "deep/er/c.jsonl",
        tmp_path / "b.jsonl",
        tmp_path / "a.jsonl",
    ]


def test_what_names_no_file_or_two_of_one_name_is_told_in_one_line(tmp_path):
    def told(*patterns):
        with pytest.raises(UserError) as caught:
            dataset_files([str(tmp_path / pattern) for pattern in patterns])
        return str(caught.value).removeprefix(f"{tmp_path}/")

    for name in ("x/a.jsonl", "y/a.csv"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    assert told("x/a.jsonl", "x") == "x: is a folder. Remedy: name a file in it, or quote a pattern with *."
    assert told("none*") == "none*: no file of this name. Remedy: check the path; quote a pattern with *."
    assert told("y/a.csv", "x/*") == (
        f"x/a.jsonl: {tmp_path}/y/a.csv has the same name, and both would share a store. Remedy: rename one of them, "
        "or store them one at a time into other folders (ACTIVATIONS_DIR)."
    )
