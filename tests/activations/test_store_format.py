"""Stores are what docs/activations.md says: sizes, versions, codecs, the manifest, the journal."""

import dataclasses
import hashlib
import json

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from small_store import layout, shard_of, small_store, written

from models_under_pressure.activations import writer as writing
from models_under_pressure.activations.ragged import ASSISTANT, SYSTEM, TEMPLATE, THINKING, TOOL, USER
from models_under_pressure.activations.store import is_store_file, open_store, partial_path
from models_under_pressure.activations.writer import StoreWriter
from models_under_pressure.core.errors import UserError


@pytest.fixture
def small_shards(monkeypatch):
    """Two rows of four numbers of 16 bits in a shard."""
    monkeypatch.setattr(writing, "_SHARD_BYTES", 2 * 4 * 2)


@given(st.integers(1, 8192), st.sampled_from([np.uint16, np.float32]), st.integers(2, 10**9))
def test_a_shard_has_the_largest_power_of_two_of_rows_that_fits_64_mebibytes(hidden, dtype, rows):
    plan = dataclasses.replace(layout(hidden=hidden, dtype=dtype), offsets=np.array([0, rows]))
    width = np.dtype(dtype).itemsize * hidden
    assert plan.shard_rows * width <= 2**26 < 2 * plan.shard_rows * width
    assert plan.shard_rows & (plan.shard_rows - 1) == 0
    first, last = plan.span(plan.shards - 1)
    assert first < last == rows <= first + plan.shard_rows
    assert plan.span(0) == (0, min(rows, plan.shard_rows))


@pytest.mark.parametrize(("keep", "rows"), [("tokens", 2**26 // 8), ("mean", 1024), ("last", 1024)])
def test_a_shard_of_pooled_rows_has_1024(keep, rows):
    assert layout(keep=keep).shard_rows == rows


@pytest.mark.parametrize(
    ("roles", "version"),
    [([SYSTEM, USER, ASSISTANT, TEMPLATE], 1), ([USER, TOOL], 1.1), ([USER, THINKING], 1.1), ([TOOL, THINKING], 1.1)],
)
def test_only_tool_and_thinking_tokens_make_a_store_of_version_1_1(roles, version, tmp_path):
    plan = layout(roles=roles)
    written(tmp_path / "a.zarr", plan, 0).finish()
    attributes = open_store(tmp_path / "a.zarr").attributes
    assert attributes == {"format": "mup-activations", "format_version": version, "layer": 3}


@pytest.mark.parametrize(("dtype", "name", "width"), [(np.uint16, "bfloat16", 2), (np.float32, "float32", 4)])
def test_the_arrays_have_the_types_codecs_and_chunks_of_the_documented_format(dtype, name, width, tmp_path):
    written(tmp_path / "a.zarr", layout(dtype=dtype), 0).finish()
    described = {
        array: json.loads((tmp_path / "a.zarr" / array / "zarr.json").read_text())
        for array in ("activations", "offsets", "ids", "token_ids", "roles")
    }
    values = described.pop("activations")
    (sharding,) = values["codecs"]
    inner = sharding["configuration"]
    assert (values["shape"], values["data_type"], values["attributes"]) == (
        [6, 4],
        np.dtype(dtype).name,
        {"dtype": name},
    )
    assert values["chunk_grid"]["configuration"] == {"chunk_shape": [2**26 // (4 * width), 4]}
    assert (sharding["name"], inner["chunk_shape"]) == ("sharding_indexed", [2**19 // (4 * width), 4])
    assert [codec["name"] for codec in inner["codecs"]] == ["bytes", "blosc", "crc32c"]
    blosc = {"typesize": width, "cname": "lz4", "clevel": 5, "shuffle": "bitshuffle"}
    assert inner["codecs"][1]["configuration"].items() >= blosc.items()
    assert {array: (one["shape"], one["data_type"]) for array, one in described.items()} == {
        "offsets": ([3], "int64"),
        "ids": ([2], "string"),
        "token_ids": ([6], "int32"),
        "roles": ([6], "int8"),
    }
    for one in described.values():
        assert one["chunk_grid"]["configuration"] == {"chunk_shape": one["shape"]}
        assert [codec["name"] for codec in one["codecs"]][-2:] == ["zstd", "crc32c"]
        assert one["codecs"][-2]["configuration"]["level"] == 3


@pytest.mark.parametrize(("rows", "chunk"), [(0, 1), (1, 1), (2**22, 2**22), (2**22 + 1, 2**22)])
def test_a_chunk_of_what_stands_beside_the_activations_has_4_194_304_entries_at_most(rows, chunk, tmp_path):
    group = zarr.create_group(tmp_path / "a.zarr")
    writing._create_column(group, "roles", np.ones(rows, np.int8), np.int8)
    assert group["roles"].chunks == (chunk,)
    assert group["roles"].shape == (rows,)
    assert group["roles"][:].sum() == rows


def test_ids_are_any_texts(tmp_path):
    ids = ["a\0", "", "é " * 1000, "\n"]
    plan = dataclasses.replace(layout(4), ids=ids, offsets=np.arange(5))
    written(tmp_path / "a.zarr", plan, 0).finish()
    assert open_store(tmp_path / "a.zarr").ids == ids


def test_zarr_alone_reads_what_was_written(tmp_path, small_shards):
    plan = layout(5)
    written(tmp_path / "a.zarr", plan, 2, 0, 1).finish()
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    np.testing.assert_array_equal(group["activations"][:], np.arange(20, dtype=np.uint16).reshape(5, 4))
    assert list(group["ids"][:]) == ["é", "z"]
    for name in ("offsets", "token_ids", "roles"):
        np.testing.assert_array_equal(group[name][:], getattr(plan, name))


def test_a_store_tells_its_width_its_numbers_and_its_rows(tmp_path, small_shards):
    written(tmp_path / "a.zarr", layout(5), 0, 1, 2).finish()
    store = open_store(tmp_path / "a.zarr")
    assert (store.hidden, store.dtype, store.shard_rows) == (4, np.uint16, 2)
    assert (store.ids, store.offsets.tolist(), store.path) == (["é", "z"], [0, 2, 5], tmp_path / "a.zarr")
    assert store.token_ids.tolist() == [0, 1, 2, 3, 4]
    assert store.roles.tolist() == [TEMPLATE] * 5
    bits = np.arange(8, 20, dtype=np.uint16).reshape(3, 4)
    np.testing.assert_array_equal(store.read_bits(2, 5), bits)
    np.testing.assert_array_equal(store.record(1), (bits.astype(np.uint32) << 16).view(np.float32))


def test_a_store_that_is_open_cannot_be_changed(tmp_path):
    store = open_store(small_store(tmp_path / "a.zarr", 5))
    with pytest.raises(ValueError, match="read-only"):
        store._values[0] = 0


def test_zeros_are_written_too_so_that_no_missing_file_looks_like_them(tmp_path, small_shards):
    writer = StoreWriter(tmp_path / "a.zarr", layout(4, roles=SYSTEM))
    for shard in (0, 1):
        writer.write(shard, np.zeros((2, 4), np.uint16))
    writer.finish()
    for name in ("activations/c/0/0", "activations/c/1/0", "roles/c/0"):
        assert (tmp_path / "a.zarr" / name).is_file()
    assert not open_store(tmp_path / "a.zarr").read(0, 4).any()


def test_the_manifest_lists_every_file_with_its_length_and_checksum(tmp_path, small_shards):
    path = tmp_path / "a.zarr"
    written(path, layout(), 0, 1, 2).finish()
    files = {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}
    del files["manifest.json"]
    assert json.loads((path / "manifest.json").read_text()) == {
        "files": {
            name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in files.items()
        }
    }
    assert sum(name.startswith("activations/c/") for name in files) == 3


def test_a_store_cannot_be_finished_before_all_its_shards_are_there(tmp_path, small_shards):
    writer = written(tmp_path / "a.zarr", layout(), 1)
    assert (writer.missing, writer.needs(1), writer.needs(2), writer.resumed) == ([0, 2], False, True, False)
    with pytest.raises(ValueError, match="^2 shards are missing$"):
        writer.finish()
    assert not (tmp_path / "a.zarr").exists()


@pytest.mark.parametrize("resumed", [False, True])
def test_a_shard_that_is_damaged_before_the_store_is_finished_does_not_pass_for_what_was_written(resumed, tmp_path):
    writer = written(tmp_path / "a.zarr", layout(), 0)
    writer = StoreWriter(tmp_path / "a.zarr", layout()) if resumed else writer
    shard = tmp_path / "a.zarr.partial/activations/c/0/0"
    shard.write_bytes(b"\0" * shard.stat().st_size)
    writer.finish()
    with pytest.raises(UserError, match="1 files are damaged or foreign, first activations/c/0/0"):
        open_store(tmp_path / "a.zarr").verify()


def test_the_journal_has_a_line_for_each_shard_with_its_checksum(tmp_path, small_shards):
    written(tmp_path / "a.zarr", layout(), 1, 0)
    partial = tmp_path / "a.zarr.partial"
    sums = [hashlib.sha256((partial / f"activations/c/{shard}/0").read_bytes()).hexdigest() for shard in (1, 0)]
    assert (partial / "journal.jsonl").read_text() == f'[1, "{sums[0]}"]\n[0, "{sums[1]}"]\n'


@pytest.mark.parametrize(
    ("other", "told"),
    [({"layer": 4}, {"layer": 4}), ({"dtype": np.float32}, {}), ({"roles": TOOL}, {"format_version": 1.1})],
)
def test_only_an_unfinished_store_of_the_same_numbers_is_continued(other, told, tmp_path, small_shards):
    assert not written(tmp_path / "a.zarr", layout(), 0, 1).resumed
    assert StoreWriter(tmp_path / "a.zarr", layout()).missing == [2]
    again = StoreWriter(tmp_path / "a.zarr", layout(**other))
    assert not again.resumed
    assert again.missing == list(range(again.layout.shards))
    for shard in again.missing:
        again.write(shard, shard_of(again.layout, shard))
    again.finish()
    store = open_store(tmp_path / "a.zarr")
    assert store.attributes == {"format": "mup-activations", "format_version": 1, "layer": 3} | told
    assert store.dtype == again.layout.dtype
    np.testing.assert_array_equal(store.roles, again.layout.roles)
    np.testing.assert_array_equal(store.read_bits(0, 6).ravel(), np.arange(24))


def test_an_unfinished_store_without_a_journal_is_made_anew(tmp_path, small_shards):
    written(tmp_path / "a.zarr", layout(), 0)
    (partial_path(tmp_path / "a.zarr") / "journal.jsonl").unlink()
    assert StoreWriter(tmp_path / "a.zarr", layout()).missing == [0, 1, 2]


def test_a_journalled_shard_that_is_gone_is_written_again(tmp_path, small_shards):
    written(tmp_path / "a.zarr", layout(), 0, 1, 2)
    (partial_path(tmp_path / "a.zarr") / "activations/c/1/0").unlink()
    again = StoreWriter(tmp_path / "a.zarr", layout())
    assert (again.missing, again.resumed) == ([1], True)


def test_a_line_that_a_kill_cut_off_costs_no_shard_but_its_own(tmp_path, small_shards):
    written(tmp_path / "a.zarr", layout(), 0, 1)
    journal = partial_path(tmp_path / "a.zarr") / "journal.jsonl"
    journal.write_text(journal.read_text()[:-9])
    again = StoreWriter(tmp_path / "a.zarr", layout())
    assert again.missing == [1, 2]
    again.write(2, shard_of(layout(), 2))
    assert StoreWriter(tmp_path / "a.zarr", layout()).missing == [1]


def test_a_store_is_made_in_a_folder_that_is_not_there_yet(tmp_path):
    written(tmp_path / "new/folder/a.zarr", layout(), 0).finish()
    assert open_store(tmp_path / "new/folder/a.zarr").offsets[-1] == 6


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("zarr.json", True),
        ("activations/zarr.json", True),
        ("activations/c/12/0", True),
        ("roles/c/0", True),
        ("roles/c/.DS_Store", False),
        ("roles/c/0.partial", False),
        ("roles/d/0", False),
        ("manifest.json", False),
        ("0", False),
    ],
)
def test_metadata_and_chunks_are_files_of_a_store_and_nothing_else(name, is_one, tmp_path):
    assert is_store_file((tmp_path / name).relative_to(tmp_path)) == is_one
