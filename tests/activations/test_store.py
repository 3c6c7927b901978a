"""A store holds what was written, shows damage, and grows without losing anything."""

import errno
import json
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models_under_pressure.activations import writer as writing
from models_under_pressure.activations.ragged import TEMPLATE
from models_under_pressure.activations.store import open_store, partial_path
from models_under_pressure.activations.writer import Layout, StoreWriter
from models_under_pressure.core.errors import UserError

HIDDEN = 16


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch):
    monkeypatch.setattr(writing, "_SHARD_BYTES", 2 * HIDDEN * 8)
    monkeypatch.setattr(writing, "_CHUNK_BYTES", 2 * HIDDEN * 4)


def layout(lengths, **attributes):
    rows = sum(lengths)
    return Layout(
        attributes={"layer": 3, **attributes},
        ids=[f"é{index}" for index in range(len(lengths))],
        offsets=np.cumsum([0, *lengths], dtype=np.int64),
        token_ids=np.arange(rows, dtype=np.int32),
        roles=(np.arange(rows) % 4).astype(np.int8),
        hidden=HIDDEN,
        dtype=np.dtype(np.uint16),
    )


def values_of(plan, seed=0):
    """Bits of finite bfloat16 numbers."""
    bits = np.random.default_rng(seed).standard_normal((plan.rows, HIDDEN)).astype(np.float32).view(np.uint32)
    return (bits >> 16).astype(np.uint16)


def write(path, plan, values, order=None, stop=None):
    store = StoreWriter(path, plan)
    for shard in list(order or range(plan.shards))[:stop]:
        store.write(shard, values[slice(*plan.span(shard))])
    return store


def contents(path):
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def test_what_a_killed_write_left_is_no_part_of_the_store(tmp_path):
    plan = layout([5, 1, 30, 12])
    values = values_of(plan)
    write(tmp_path / "whole.zarr", plan, values).finish()
    write(tmp_path / "a.zarr", plan, values, stop=2)
    left = partial_path(tmp_path / "a.zarr") / "activations" / "c" / "2" / "0.9d06c881a2ae.partial"
    left.parent.mkdir()
    left.touch()
    resumed = StoreWriter(tmp_path / "a.zarr", plan)
    for shard in resumed.missing:
        resumed.write(shard, values[slice(*plan.span(shard))])
    (partial_path(tmp_path / "a.zarr") / ".DS_Store").touch()  # nor what a file browser leaves
    resumed.finish()
    (tmp_path / "a.zarr" / ".DS_Store").unlink()
    assert contents(tmp_path / "a.zarr") == contents(tmp_path / "whole.zarr")


@pytest.fixture
def finished(tmp_path):
    plan = layout([5, 1, 30, 12])
    values = values_of(plan)
    write(tmp_path / "a.zarr", plan, values).finish()
    return tmp_path / "a.zarr", plan, values


@settings(max_examples=15)
@given(lengths=st.lists(st.integers(1, 20), min_size=1, max_size=12), data=st.data())
def test_any_slice_reads_back(lengths, data, tmp_path_factory):
    path = tmp_path_factory.mktemp("s") / "a.zarr"
    plan = layout(lengths)
    values = values_of(plan)
    write(path, plan, values).finish()
    store = open_store(path)
    for start in data.draw(st.lists(st.integers(0, plan.rows), min_size=5, max_size=5)):
        stop = data.draw(st.integers(start, plan.rows))
        expected = (values[start:stop].astype(np.uint32) << 16).view(np.float32)
        np.testing.assert_array_equal(store.read(start, stop), expected)
        assert store.read(start, stop).dtype == np.float32
    assert list(store.ids) == list(plan.ids)
    np.testing.assert_array_equal(store.offsets, plan.offsets)
    np.testing.assert_array_equal(store.token_ids, plan.token_ids)
    np.testing.assert_array_equal(store.roles, plan.roles)


def test_records_shards_and_pools_agree_with_slices(finished):
    path, plan, _ = finished
    store = open_store(path)
    whole = store.read(0, plan.rows)
    np.testing.assert_array_equal(store.record(2), whole[6:36])


def test_equal_values_give_equal_bytes_in_any_order_of_writing(finished, tmp_path):
    path, plan, values = finished
    write(tmp_path / "b.zarr", plan, values, order=reversed(range(plan.shards))).finish()
    assert contents(tmp_path / "b.zarr") == contents(path)


def test_a_finished_store_holds_only_its_own_files(finished):
    path, plan, _ = finished
    assert not partial_path(path).exists()
    names = set(contents(path))
    assert names == set(json.loads((path / "manifest.json").read_text())["files"]) | {"manifest.json"}
    assert len([name for name in names if name.startswith("activations/c/")]) == plan.shards


def test_a_flipped_byte_is_found_by_verify_wherever_it_is(finished):
    path, _, _ = finished
    for name, before in contents(path).items():
        if name == "manifest.json":
            continue
        damaged = bytearray(before)
        damaged[len(damaged) // 2] ^= 1
        (path / name).write_bytes(damaged)
        with pytest.raises(UserError, match=rf"first {name}"):
            open_store(path).verify() if not name.endswith("zarr.json") else verify_without_opening(path)
        (path / name).write_bytes(before)
    open_store(path).verify()


def verify_without_opening(path):
    """A damaged zarr.json may not even parse."""
    from models_under_pressure.activations.store import Store

    Store.verify(type("Closed", (), {"path": path})())


def test_a_flipped_byte_of_an_activation_is_found_by_reading(finished):
    path, plan, _ = finished
    shard = path / "activations/c/1/0"
    damaged = bytearray(shard.read_bytes())
    damaged[10] ^= 1
    shard.write_bytes(damaged)
    store = open_store(path)
    store.read(0, plan.shard_rows)
    with pytest.raises(UserError, match="rows 0 to 48 cannot be read"):
        store.read(0, plan.rows)


def test_a_missing_shard_is_not_read_as_zeros(finished):
    path, _, _ = finished
    (path / "activations/c/2/0").unlink()
    with pytest.raises(UserError, match=r"activations/c/2/0 is missing"):
        open_store(path)


def test_a_path_without_a_store_says_what_to_do(tmp_path):
    with pytest.raises(UserError, match=r"no activation store here.*mup extract"):
        open_store(tmp_path / "none.zarr")


def test_an_unfinished_store_cannot_be_opened_and_is_continued(finished, tmp_path):
    reference, plan, values = finished
    path = tmp_path / "b.zarr"
    write(path, plan, values, stop=2)
    with pytest.raises(UserError, match="unfinished"):
        open_store(path)
    again = StoreWriter(path, plan)
    assert again.resumed
    assert again.missing == list(range(2, plan.shards))
    for shard in again.missing:
        again.write(shard, values[slice(*plan.span(shard))])
    again.finish()
    assert contents(path) == contents(reference)


def test_a_damaged_or_half_journalled_shard_is_written_again(finished, tmp_path):
    _, plan, values = finished
    path = tmp_path / "b.zarr"
    write(path, plan, values, stop=3)
    shard = partial_path(path) / "activations/c/1/0"
    shard.write_bytes(shard.read_bytes()[:-1] + b"\0")
    journal = partial_path(path) / "journal.jsonl"
    journal.write_text(journal.read_text()[:-10])
    assert StoreWriter(path, plan).missing == [1, *range(2, plan.shards)]


def test_another_provenance_starts_again(finished, tmp_path):
    _, plan, values = finished
    path = tmp_path / "b.zarr"
    write(path, plan, values, stop=3)
    other = StoreWriter(path, layout([5, 1, 30, 12], layer=4))
    assert not other.resumed
    assert len(other.missing) == plan.shards


@pytest.mark.parametrize("stopped_before", ["unlink", "rmtree", "rename"])
def test_a_run_that_dies_while_finishing_is_finished_by_the_next(stopped_before, finished, tmp_path, monkeypatch):
    reference, plan, values = finished
    path = tmp_path / "b.zarr"
    store = write(path, plan, values)

    def die(*_args, **_kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        target = shutil if stopped_before == "rmtree" else type(path)
        patch.setattr(target, stopped_before, die)
        with pytest.raises(KeyboardInterrupt):
            store.finish()
    StoreWriter(path, plan)  # killed too
    again = StoreWriter(path, plan)
    assert again.missing == []
    again.finish()
    assert contents(path) == contents(reference)


@pytest.mark.parametrize(
    ("number", "problem"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EROFS, "not permitted"),
        (errno.EACCES, "not permitted"),
        (errno.EIO, "write"),
    ],
)
def test_a_disk_that_cannot_take_more_keeps_what_it_has(number, problem, finished, tmp_path, monkeypatch):
    _, plan, values = finished
    path = tmp_path / "b.zarr"
    store = write(path, plan, values, stop=2)

    def fail(*_args):
        raise OSError(number, "simulated")

    with monkeypatch.context() as patch:
        patch.setattr(writing, "write_shard", fail)
        with pytest.raises(UserError, match=rf"{problem}.*finished shards are kept"):
            store.write(2, values[slice(*plan.span(2))])
    assert StoreWriter(path, plan).missing == list(range(2, plan.shards))


def test_an_older_store_is_replaced_only_when_the_new_one_is_whole(finished):
    path, _, _ = finished
    plan = layout([4, 4], layer=9)
    values = values_of(plan, seed=1)
    store = write(path, plan, values)
    assert open_store(path).attributes["layer"] == 3
    store.finish()
    assert open_store(path).attributes["layer"] == 9


def test_pooled_rows_stay_float32(tmp_path):
    plan = layout([1, 1, 1])
    plan = Layout(**{**vars(plan), "dtype": np.dtype(np.float32), "roles": np.full(3, TEMPLATE, np.int8)})
    values = np.random.default_rng(0).standard_normal((3, HIDDEN)).astype(np.float32)
    write(tmp_path / "p.zarr", plan, values).finish()
    np.testing.assert_array_equal(open_store(tmp_path / "p.zarr").read(0, 3), values)
