"""Gradient descent against a plain loop of PyTorch, and the defects of training loops that it must not have."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models_under_pressure.activations.ragged import ArrayActivations
from models_under_pressure.evaluation.metrics import auroc
from models_under_pressure.probes import batches, tokens
from models_under_pressure.probes.batches import Pools
from models_under_pressure.probes.data import TrainingData
from models_under_pressure.probes.descent import Split, descend
from models_under_pressure.probes.families import FAMILIES
from models_under_pressure.probes.family import Member, Weights
from models_under_pressure.probes.module import ProbeModule
from models_under_pressure.probes.pooling import Segments
from models_under_pressure.probes.space import Space
from models_under_pressure.probes.tokens import select
from models_under_pressure.probes.training import fit_probe, fit_probes

EVERY = ("system", "user", "assistant", "template")
DESCENDING = ["attention", "max", "multi_head_attention", "rolling_mean_max", "softmax", "top_k_mean"]


def split(data, batch_size=1000, cache=1 << 30):
    selection = select(data.activations, EVERY)
    pools = Pools(selection, batch_size, np.random.default_rng(0), cache_bytes=cache)
    return Split(pools, data.labels, data.weights)


def plain_space(hidden):
    """The space of the activations themselves."""
    return Space(np.zeros(hidden), np.full(hidden, hidden**-0.5))


def train(name, data, validation=None, batch_size=1000, order=1, **settings):
    config = FAMILIES[name].config(**settings)
    hidden = data.activations.hidden
    start = Weights(np.random.default_rng(3).normal(size=(hidden, 2)) * 0.1, np.zeros(2))
    if name != "attention":
        start = Weights(start.projection[:, :1], start.bias[:1])
    member = Member(FAMILIES[name], config, config, start)
    held_out = None if validation is None else split(validation)
    found = descend([member], plain_space(hidden), split(data, batch_size), held_out, np.random.default_rng(order))
    return member, found[0]


@pytest.mark.parametrize("clip", [1.0, 1e-3])
def test_it_is_pytorchs_adamw_with_clipping_and_cosine_schedule(planted, clip):
    data = planted(records=20, hidden=8)
    member, found = train("attention", data, epochs=25, weight_decay=0.1, max_gradient_norm=clip, learning_rate=0.05)
    weights = torch.tensor(member.start.projection, requires_grad=True)
    bias = torch.tensor(member.start.bias, requires_grad=True)
    optimiser = torch.optim.AdamW([weights, bias], lr=0.05, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=25, eta_min=5e-4)
    records = [
        torch.tensor(data.activations.values[begin:end], dtype=torch.float64)
        for begin, end in zip(data.activations.offsets, data.activations.offsets[1:], strict=False)
    ]
    for _ in range(25):
        projections = [record @ weights + bias for record in records]
        logits = torch.stack([torch.softmax(z[:, 0], 0) @ z[:, 1] for z in projections])
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.tensor(data.labels).double())
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([weights, bias], clip)
        optimiser.step()
        schedule.step()
    np.testing.assert_allclose(found.weights.projection, weights.detach().numpy(), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found.history[-1]["train_loss"], loss.item(), rtol=1e-4)


def test_a_space_folds_and_unfolds(planted):
    generator = np.random.default_rng(0)
    space = Space(generator.normal(size=5), generator.uniform(0.1, 9.0, size=5))
    weights = Weights(generator.normal(size=(5, 2)), generator.normal(size=2))
    values = generator.normal(size=(7, 5))
    there = ProbeModule(FAMILIES["attention"], FAMILIES["attention"].config(), weights, space).weights()
    expected = ((values - space.centre) / (space.scale * np.sqrt(5))) @ weights.projection + weights.bias
    np.testing.assert_allclose(values @ there.projection + there.bias, expected)
    back = space.from_activations(there)
    np.testing.assert_allclose(back.projection, weights.projection)
    np.testing.assert_allclose(back.bias, weights.bias)


def scores(name, weights, data):
    module = ProbeModule(FAMILIES[name], FAMILIES[name].config(), weights)
    tokens = torch.from_numpy(data.activations.values).double()
    return module(tokens, Segments.of(data.activations.offsets)).logits.detach().numpy()


def test_the_weights_returned_are_those_of_the_best_epoch_and_not_of_the_last(planted):
    # Few noisy records at a high rate: validation AUROC rises, then falls.
    data, held_out = planted(records=30, strength=0.3, seed=4), planted(records=300, strength=0.3, seed=5)
    _, found = train("attention", data, held_out, epochs=60, patience=60, learning_rate=0.05)
    by_epoch = [entry["validation_auroc"] for entry in found.history]
    assert max(by_epoch) > by_epoch[-1]
    assert found.epoch == 1 + int(np.argmax(by_epoch))
    assert auroc(scores("attention", found.weights, held_out), held_out.labels) == pytest.approx(
        max(by_epoch), abs=1e-9
    )


def test_of_equal_epochs_the_first_one_is_returned(planted):
    data = planted(records=12, hidden=4)
    member, found = train("max", data, data, epochs=3, learning_rate=1e-12, final_learning_rate=0.0)
    at_start = auroc(scores("max", member.start, data), data.labels)
    assert [entry["validation_auroc"] for entry in found.history] == [at_start] * 3
    assert found.epoch == 0


def test_a_loss_of_the_familys_own_is_what_is_minimised(planted):
    data = planted(records=12, hidden=4)  # records of 3 tokens and more: the shortest are one window
    member, found = train("ema", data, epochs=1, window=5, temperature=0.5)
    expected = []
    for label, begin, end in zip(data.labels, data.activations.offsets, data.activations.offsets[1:], strict=False):
        projections = (data.activations.values[begin:end] @ member.start.projection + member.start.bias)[:, 0]
        window = min(5, len(projections))
        means = np.convolve(projections, np.full(window, 1 / window), mode="valid")
        weights = np.exp(means / 0.5) / np.exp(means / 0.5).sum()
        expected.append(weights @ np.log1p(np.exp(np.where(label, -means, means))))
    assert found.history[0]["train_loss"] == pytest.approx(np.mean(expected), rel=1e-5)


def test_training_stops_when_patience_is_used_up(planted):
    data, held_out = planted(records=30, strength=0.3, seed=4), planted(records=300, strength=0.3, seed=5)
    _, found = train("attention", data, held_out, epochs=200, patience=7, learning_rate=0.05)
    assert len(found.history) == found.epoch + 7 < 200


def test_without_a_validation_split_the_last_epoch_is_returned(planted):
    _, found = train("attention", planted(), epochs=6)
    assert found.epoch == len(found.history) == 6


def test_fewer_records_than_a_batch_learn(planted):
    _, found = train("softmax", planted(records=6), batch_size=64, epochs=40, learning_rate=0.05)
    assert found.history[-1]["train_loss"] < 0.5 * found.history[0]["train_loss"]


@pytest.mark.parametrize(("records", "batch_size"), [(65, 64), (10, 3), (5, 64), (64, 64)])
def test_every_epoch_uses_every_record_once_leftovers_too(planted, records, batch_size):
    found = split(planted(records=records), batch_size).pools
    for _ in range(3):
        seen = np.concatenate([batch.records for batch in found.epoch(np.random.default_rng())])
        assert sorted(seen) == list(range(records))


def test_each_epoch_takes_the_batches_in_an_order_drawn_anew(planted):
    data = planted(records=12, hidden=4)
    one, again, other = (train("max", data, batch_size=2, order=seed, epochs=2)[1].weights for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.projection, again.projection)
    assert not np.array_equal(one.projection, other.projection)


def test_a_batch_holds_the_tokens_of_its_records(planted):
    data = planted()
    for batch in split(data, 7).pools.epoch(np.random.default_rng(0)):
        for place, record in enumerate(batch.records):
            begin, end = batch.segments.offsets[place : place + 2]
            own = slice(*data.activations.offsets[record : record + 2])
            np.testing.assert_array_equal(batch.values[begin:end], data.activations.values[own])


def test_batches_in_order_are_the_activations_themselves(planted, small_pools):
    data = planted()
    found = list(Pools(select(data.activations, EVERY), 1, None, cache_bytes=0).epoch(None))
    assert np.concatenate([batch.records for batch in found]).tolist() == list(range(120))
    np.testing.assert_array_equal(np.concatenate([batch.values for batch in found]), data.activations.values)
    assert all(np.shares_memory(batch.values.numpy(), data.activations.values) for batch in found)


@pytest.fixture
def small_pools(monkeypatch):
    """Pools and blocks of a few records, as large data have."""
    monkeypatch.setattr(batches, "POOL_VALUES", 4000)
    monkeypatch.setattr(tokens, "BLOCK_VALUES", 1000)


@pytest.mark.parametrize("memory", [0.0, 1e-5])
def test_memory_changes_nothing_but_the_time(planted, small_pools, memory):
    data, held_out = planted(seed=1), planted(seed=2, world=0)
    config = FAMILIES["attention"].config(epochs=4, batch_size=10)
    plenty = fit_probe(config, data, held_out, seed=0)
    (little,) = fit_probes({"": config}, data, held_out, seed=0, memory_gib=memory)[""]
    np.testing.assert_array_equal(plenty.weights["projection"], little.weights["projection"])


def test_several_pools_hold_every_record_once(planted, small_pools):
    found = list(split(planted(), 10).pools.epoch(np.random.default_rng(0)))
    assert sorted(np.concatenate([batch.records for batch in found])) == list(range(120))
    assert len(found) > 12


def test_records_longer_than_a_block_are_read_whole(planted, monkeypatch):
    monkeypatch.setattr(tokens, "BLOCK_VALUES", 16)
    data = planted()
    assert fit_probe(FAMILIES["mean"].config(), data, data, seed=0).metrics["validation_auroc"] > 0.9


@pytest.mark.parametrize("name", DESCENDING)
def test_every_family_learns_what_is_planted(planted, name):
    data, held_out = planted(records=200, seed=1), planted(records=200, seed=2)
    probe = fit_probe(FAMILIES[name].config(epochs=60), data, held_out, seed=0)
    assert probe.metrics["validation_auroc"] > 0.9


@pytest.mark.parametrize("name", ["attention", "softmax"])
def test_a_huge_first_token_does_not_hinder(planted, name):
    data, held_out = (planted(records=200, seed=seed, first_token=5000.0) for seed in (1, 2))
    probe = fit_probe(FAMILIES[name].config(epochs=60), data, held_out, seed=0)
    assert probe.metrics["validation_auroc"] > 0.9


def test_attention_finds_the_one_token_that_matters(ragged):
    def make(seed):
        generator = np.random.default_rng(seed)
        labels = np.arange(300) % 2 == 0
        records = [generator.normal(size=(40, 8)) for _ in labels]
        for record, label in zip(records, labels, strict=True):
            place = generator.integers(40)
            record[place, 0] = 6.0  # says: here
            record[:, 1] += generator.normal() * 2  # drowns the mean
            record[place, 1] = 3.0 if label else -3.0
        return TrainingData(ragged(records), labels, [str(number) for number in range(300)])

    data, held_out = make(1), make(2)
    found = fit_probes(
        {"mean": FAMILIES["mean"].config(), "attention": FAMILIES["attention"].config(learning_rate=0.05)},
        data,
        held_out,
        seed=0,
    )
    assert found["mean"][0].metrics["validation_auroc"] < 0.7
    assert found["attention"][0].metrics["validation_auroc"] > 0.95


def test_one_seed_gives_one_result_and_others_differ(planted):
    data, held_out = planted(seed=1), planted(seed=2)
    config = FAMILIES["attention"].config(epochs=5)
    first, again, other = (fit_probe(config, data, held_out, seed=seed).weights["projection"] for seed in (7, 7, 8))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_the_number_of_threads_leaves_no_trace(planted, threads):
    data, held_out = planted(records=30, hidden=70, seed=1), planted(records=30, hidden=70, seed=2)
    configs = {name: FAMILIES[name].config(epochs=2) for name in ("attention", "multi_head_attention")}
    expected, before = fit_probes(configs, data, held_out, seed=7), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = fit_probes(configs, data, held_out, seed=7)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    for name in configs:
        np.testing.assert_array_equal(found[name][0].weights["projection"], expected[name][0].weights["projection"])


def test_bits_of_bfloat16_train_as_their_numbers_do_and_are_kept_as_bits_where_memory_is_short(planted, monkeypatch):
    plain = planted(seed=1)
    bits = (plain.activations.values.view(np.uint32) >> 16).astype(np.uint16)
    numbers = (bits.astype(np.uint32) << 16).view(np.float32)

    class Stored(ArrayActivations):
        def read_bits(self, start, stop):
            return bits[start:stop]

    same = (numbers, plain.activations.offsets, plain.activations.ids, plain.activations.roles)
    as_bits, as_numbers = (
        TrainingData(kind(*same, plain.activations.attributes), plain.labels, plain.groups)
        for kind in (Stored, ArrayActivations)
    )
    config = FAMILIES["attention"].config(epochs=3)
    expected = fit_probe(config, as_numbers, None, seed=0).weights["projection"]
    for view in (as_bits, as_bits.only(np.arange(120))):
        for memory in (2.0, 0.7 * numbers.nbytes / 2**30):
            (found,) = fit_probes({"": config}, view, None, seed=0, memory_gib=memory)[""]
            np.testing.assert_array_equal(found.weights["projection"], expected)
    pools = Pools(select(as_bits.activations, EVERY), 9, np.random.default_rng(0), cache_bytes=numbers.nbytes - 1)
    assert {batch.values.dtype for batch in pools.epoch(None)} == {torch.float32}
    assert [kept.dtype for kept in pools._cached.values()] == [torch.bfloat16]


def test_a_weight_of_two_is_the_record_twice(planted):
    data = planted(records=10, hidden=8)
    rows = np.arange(10).repeat(np.where(np.arange(10) == 3, 2, 1))
    weights = np.where(np.arange(10) == 3, 2.0, 1.0)
    _, found = train("attention", replace(data, weights=weights * 10 / 11), epochs=9, learning_rate=0.05)
    _, twice = train("attention", data.only(rows), epochs=9, learning_rate=0.05)
    np.testing.assert_allclose(found.weights.projection, twice.weights.projection, rtol=1e-3, atol=1e-6)


def test_probes_and_seeds_trained_together_are_those_trained_alone(planted):
    data, held_out = planted(seed=1), planted(seed=2)
    configs = {
        "a": FAMILIES["attention"].config(epochs=5, seeds=3),
        "m": FAMILIES["max"].config(epochs=7),
        "l": FAMILIES["lda"].config(),
        "s": FAMILIES["softmax"].config(epochs=5, batch_size=16),
    }
    together = fit_probes(configs, data, held_out, seed=10)
    assert [probe.seed for probe in together["a"]] == [10, 11, 12]
    for name, config in configs.items():
        for probe in together[name]:
            alone = fit_probe(config, data, held_out, seed=probe.seed)
            np.testing.assert_allclose(
                probe.weights["projection"], alone.weights["projection"], rtol=1e-3, atol=1e-5, err_msg=name
            )
