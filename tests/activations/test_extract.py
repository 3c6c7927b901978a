"""A dataset becomes stores: ordered, resumable, and independent of how it was batched."""

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models_under_pressure.activations import engine as window_module
from models_under_pressure.activations import writer as writing
from models_under_pressure.activations.batches import padded_length, plan_batches
from models_under_pressure.activations.blocks import Taps
from models_under_pressure.activations.config import ExtractConfig, ModelConfig
from models_under_pressure.activations.engine import windows
from models_under_pressure.activations.extract import extract, extract_files, recompute
from models_under_pressure.activations.model import load_model
from models_under_pressure.activations.ragged import THINKING, TOOL
from models_under_pressure.activations.store import open_store
from models_under_pressure.activations.tokens import RefusedError
from models_under_pressure.core.conversation import Message
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.records import Label, Record, content_hash, write_records
from models_under_pressure.probes.data import with_labels


@pytest.fixture
def small_shards(monkeypatch):
    """Shards of 64 rows in windows of 128, so that small datasets have many."""
    monkeypatch.setattr(writing, "_SHARD_BYTES", 64 * 2 * 32)
    monkeypatch.setattr(window_module, "_WINDOW_ROWS", 128)


def run(model, records, path, *, layer=2, **config):
    outcomes = extract(records, model=model, config=ExtractConfig(**config), paths={layer: path})
    return outcomes, open_store(path)


def contents(path):
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def test_records_are_stored_in_the_order_of_their_ids(tiny, chats, tmp_path):
    _, store = run(tiny, chats, tmp_path / "a.zarr")
    assert store.ids == sorted(record.id for record in chats)
    assert store.attributes["records"] == len(chats)
    assert store.attributes["tokens"] == store.offsets[-1] == len(store.token_ids) == len(store.roles)
    reference = tiny.model(input_ids=torch.from_numpy(store.token_ids[: store.offsets[1]]).long()[None])
    assert reference.last_hidden_state.shape[1] == store.offsets[1]
    assert store.attributes["dataset"] == content_hash(chats)
    store.verify()


def test_the_store_says_where_its_numbers_come_from(tiny, chats, tmp_path):
    _, store = run(tiny, chats, tmp_path / "a.zarr", hook_point="post_norm")
    expected = {"layer": 2, "hook_point": "post_norm", "compute_dtype": "float32", "quantization": "none"}
    expected |= {"revision": tiny.revision, "model": tiny.name, "device": "cpu", "keep": "tokens"}
    assert expected.items() <= store.attributes.items()


@pytest.mark.parametrize(
    "config", [{"packing": "off"}, {"packing": "auto"}, {"batch_tokens": 64}, {"batch_tokens": 4096}]
)
def test_bytes_do_not_depend_on_batches(config, tiny, chats, tmp_path):
    _, first = run(tiny, chats, tmp_path / "a.zarr", packing=config.get("packing", "auto"))
    _, second = run(tiny, list(reversed(chats)), tmp_path / "b.zarr", **config)
    assert contents(first.path) == contents(second.path)


def test_bytes_of_one_record_do_not_depend_on_the_others(tiny, chats, tmp_path):
    _, everyone = run(tiny, chats, tmp_path / "a.zarr")
    _, few = run(tiny, chats[3:5], tmp_path / "b.zarr")
    for index, id_ in enumerate(few.ids):
        np.testing.assert_array_equal(few.record(index), everyone.record(everyone.ids.index(id_)))


def test_many_windows_give_the_numbers_of_one(tiny, chats, tmp_path, monkeypatch):
    _, whole = run(tiny, chats, tmp_path / "a.zarr")
    monkeypatch.setattr(writing, "_SHARD_BYTES", 64 * 2 * 32)
    monkeypatch.setattr(window_module, "_WINDOW_ROWS", 128)
    _, cut = run(tiny, chats, tmp_path / "b.zarr")
    assert cut.shard_rows == 64
    np.testing.assert_array_equal(cut.read(0, len(cut.roles)), whole.read(0, len(whole.roles)))


def test_several_layers_in_one_pass_equal_one_at_a_time(tiny, chats, tmp_path, small_shards):
    paths = {layer: tmp_path / f"layer_{layer}.zarr" for layer in (0, 1, 3)}
    outcomes = extract(chats, model=tiny, config=ExtractConfig(), paths=paths)
    assert outcomes == dict.fromkeys((0, 1, 3), "written")
    for layer, path in paths.items():
        _, alone = run(tiny, chats, tmp_path / f"alone_{layer}.zarr", layer=layer)
        assert contents(alone.path) == contents(path)


@pytest.mark.parametrize("keep", ["mean", "last"])
def test_pooled_stores_equal_pooled_tokens(keep, tiny, chats, tmp_path):
    _, tokens = run(tiny, chats, tmp_path / "tokens.zarr")
    _, pooled = run(tiny, chats, tmp_path / "pooled.zarr", keep=keep)
    whole = [tokens.record(index) for index in range(len(chats))]
    expected = [values[-1] if keep == "last" else values.mean(axis=0) for values in whole]
    assert pooled.offsets.tolist() == list(range(len(chats) + 1))
    np.testing.assert_allclose(pooled.read(0, len(chats)), expected, rtol=0.02, atol=0.01)
    assert set(pooled.roles) == {3}


def test_a_store_may_keep_the_bits_of_float32(tiny, chats, tmp_path):
    _, narrow = run(tiny, chats, tmp_path / "narrow.zarr")
    _, wide = run(tiny, chats, tmp_path / "wide.zarr", stored="float32")
    values, rounded = (store.read(0, len(store.roles)) for store in (wide, narrow))
    assert (wide.dtype, narrow.dtype) == (np.float32, np.uint16)
    assert not np.array_equal(values, rounded)
    np.testing.assert_array_equal(torch.from_numpy(values).bfloat16().float().numpy(), rounded)
    assert all(one.identical for one in recompute(wide, sample=3, seed=0))


def test_a_store_of_the_other_width_is_replaced(tiny, chats, tmp_path):
    run(tiny, chats, tmp_path / "a.zarr")
    outcomes, store = run(tiny, chats, tmp_path / "a.zarr", stored="float32")
    assert (outcomes, store.dtype) == ({2: "written"}, np.float32)


def test_a_store_with_the_same_content_is_left_alone(tiny, chats, tmp_path):
    run(tiny, chats, tmp_path / "a.zarr")
    before = (tmp_path / "a.zarr/manifest.json").stat().st_mtime_ns
    outcomes, _ = run(tiny, chats, tmp_path / "a.zarr", batch_tokens=300)
    assert outcomes == {2: "exists"}
    assert (tmp_path / "a.zarr/manifest.json").stat().st_mtime_ns == before


@pytest.mark.parametrize("change", ["text", "hook_point", "max_tokens", "keep"])
def test_a_change_of_content_or_settings_extracts_again(change, tiny, chats, tmp_path):
    _, before = run(tiny, chats, tmp_path / "a.zarr")
    attributes = before.attributes
    if change == "text":
        outcomes, after = run(tiny, [Record(chats[0].id, "other"), *chats[1:]], tmp_path / "a.zarr")
    else:
        setting = {"hook_point": "post_norm", "max_tokens": 100, "keep": "mean"}[change]
        outcomes, after = run(tiny, chats, tmp_path / "a.zarr", **{change: setting})
    assert outcomes == {2: "written"}
    assert after.attributes != attributes


def test_a_layer_that_the_model_lacks_names_the_valid_range(tiny, chats, tmp_path):
    with pytest.raises(
        UserError, match=r"no layer 5\. .*use 0 to 3 for what enters one of its 4 decoder blocks, or 4 \(or -1\)"
    ):
        run(tiny, chats, tmp_path / "a.zarr", layer=5)


def test_over_long_records_are_cut_and_named(tiny, chats, tmp_path, caplog):
    _, store = run(tiny, chats, tmp_path / "a.zarr", max_tokens=40)
    assert np.diff(store.offsets).max() == 40
    assert store.attributes["truncated"]
    assert "longer than the limit" in caplog.text


AGENT = Record(
    "agent",
    (
        Message("user", "How much?"),
        Message("assistant", "So much.", thinking="Heavy."),
        Message("tool", "40 mg", tool_call_id="c1"),
    ),
)


def test_a_store_with_tool_or_thinking_tokens_is_of_the_next_version_and_others_are_as_before(tiny, chats, tmp_path):
    _, plain = run(tiny, chats, tmp_path / "a.zarr")
    _, store = run(tiny, [*chats, AGENT], tmp_path / "b.zarr")
    assert (plain.attributes["format_version"], store.attributes["format_version"]) == (1, 1.1)
    assert {TOOL, THINKING} <= set(store.roles.tolist())
    assert store.attributes["left_out"] == {**plain.attributes["left_out"], "agent": 2}
    assert "refused" not in store.attributes
    again, _ = run(tiny, [*chats, AGENT], tmp_path / "b.zarr")
    assert again == {2: "exists"}


def test_a_refused_record_ends_the_run_after_the_others_are_stored_unless_it_is_allowed(tiny, chats, tmp_path, caplog):
    broken = Record("broken", "half \ud83d")
    with pytest.raises(RefusedError, match="1 records are refused, 0 may be.*record 'broken'.*--allow-refused"):
        run(tiny, [*chats, broken], tmp_path / "a.zarr")
    store = open_store(tmp_path / "a.zarr")
    assert store.ids == sorted(record.id for record in chats)
    assert list(store.attributes["refused"]) == ["broken"]
    outcomes, _ = run(tiny, [*chats, broken], tmp_path / "a.zarr", allow_refused=1)
    assert outcomes == {2: "exists"}
    assert "record 'broken' is skipped" in caplog.text
    labelled = [dataclasses.replace(record, label=Label.HIGH) for record in [*chats, broken]]
    assert list(with_labels(store, labelled).activations.ids) == store.ids


def test_a_strict_run_refuses_what_the_template_strips_and_a_lenient_one_tells_of_it(tiny, chats, tmp_path, caplog):
    padded = [*chats, Record("padded", " two spaces ")]
    _, store = run(tiny, padded, tmp_path / "a.zarr")
    assert store.attributes["left_out"]["padded"] == 2
    assert "characters are in no token" in caplog.text
    with pytest.raises(RefusedError, match="record 'padded': the chat template of .* leaves out 2 characters"):
        run(tiny, padded, tmp_path / "b.zarr", strict_template=True)


def test_running_out_of_memory_halves_the_batch_and_changes_nothing(tiny, chats, tmp_path, monkeypatch):
    _, expected = run(tiny, chats, tmp_path / "a.zarr")
    forward = Taps.forward
    sizes = []

    def scarce(self, **inputs):
        sizes.append(inputs["input_ids"].numel())
        if sizes[-1] > 600:
            raise torch.OutOfMemoryError
        return forward(self, **inputs)

    monkeypatch.setattr(Taps, "forward", scarce)
    _, found = run(tiny, chats, tmp_path / "b.zarr", batch_tokens=1500)
    assert max(sizes) > 600
    assert contents(found.path) == contents(expected.path)


def test_one_record_too_large_for_memory_is_named(tiny, chats, tmp_path, monkeypatch):
    forward = Taps.forward

    def scarce(self, **inputs):
        if inputs["input_ids"].numel() > 100:
            raise torch.OutOfMemoryError
        return forward(self, **inputs)

    monkeypatch.setattr(Taps, "forward", scarce)
    with pytest.raises(UserError, match=r"record 'r\d\d': memory does not hold"):
        run(tiny, chats, tmp_path / "b.zarr")


def test_several_files_need_one_model_and_existing_ones_none(model_directory, chats, tmp_path, monkeypatch):
    write_records(tmp_path / "one.jsonl", chats[:4])
    write_records(tmp_path / "two.jsonl", chats[4:])
    jobs = [(tmp_path / f"{name}.jsonl", {1: tmp_path / f"{name}.zarr"}) for name in ("one", "two")]
    config = ModelConfig(name=str(model_directory("llama")), dtype="float32")
    loads = []

    def counted(*args, **kwargs):
        loads.append(kwargs)
        return load_model(*args, **kwargs)

    monkeypatch.setattr("models_under_pressure.activations.extract.load_model", counted)
    assert [done for _, done in extract_files(jobs, model=config, config=ExtractConfig())] == ["written"] * 2
    assert [done for _, done in extract_files(jobs, model=config, config=ExtractConfig())] == ["exists"] * 2
    assert len(loads) == 1


def test_verify_recomputes_records_and_finds_numbers_of_another_model(model_directory, chats, tmp_path):
    config = ModelConfig(name=str(model_directory("llama")), dtype="float32")
    _, store = run(load_model(config), chats, tmp_path / "a.zarr")
    results = recompute(store, sample=5, seed=1)
    assert len(results) == 5
    assert all(result.identical for result in results)
    model = load_model(config)
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight.mul_(20)
    _, wrong = run(model, chats, tmp_path / "b.zarr")
    with pytest.raises(UserError, match="5 of 5 records differ"):
        recompute(wrong, sample=5, seed=1)


@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=40),
    shard_rows=st.sampled_from([8, 32]),
    data=st.data(),
)
def test_windows_cover_every_row_once_whatever_is_missing(lengths, shard_rows, data):
    offsets = np.cumsum([0, *lengths])
    shards = -(-int(offsets[-1]) // shard_rows)
    everything = list(windows(offsets, shard_rows, range(shards), pooled=True))
    assert [shard for window in everything for shard in window.shards] == list(range(shards))
    for window in everything:
        owned = {*window.inside, *window.crossing}
        overlap = {
            index
            for index, (start, stop) in enumerate(itertools.pairwise(offsets.tolist()))
            if start < window.last_row and stop > window.first_row
        }
        assert owned == overlap
        assert all(offsets[i] >= window.first_row and offsets[i + 1] <= window.last_row for i in window.inside)
    missing = data.draw(st.sets(st.integers(0, shards - 1)))
    some = list(windows(offsets, shard_rows, missing, pooled=True))
    assert some == [window for window in everything if set(window.shards) & missing]


@given(st.lists(st.integers(1, 300), min_size=1, max_size=80), st.integers(16, 512), st.booleans())
def test_batches_hold_every_record_once_within_the_budget(lengths, budget, packing):
    batches = plan_batches(np.array(lengths), budget=budget, packing=packing)
    assert sorted(record for batch in batches for record in batch) == list(range(len(lengths)))
    for batch in batches:
        tokens = [lengths[record] for record in batch]
        used = sum(tokens) if packing else len(batch) * padded_length(max(tokens))
        assert used <= budget or len(batch) == 1


@pytest.mark.slow
def test_ten_kills_leave_the_store_of_an_uninterrupted_run(model_directory, tmp_path, warm_run):
    result = warm_run(Path(__file__).with_name("killed_extraction.py"), model_directory("llama"), tmp_path)
    assert result.returncode == 0, result.stderr
    assert contents(tmp_path / "killed.zarr") == contents(tmp_path / "whole.zarr")
    assert [path.name for path in tmp_path.glob("*.partial")] == []
