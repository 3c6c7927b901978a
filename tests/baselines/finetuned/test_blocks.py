"""Training a part of the blocks: what is frozen stays, what is kept is not computed again, and no bit changes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from models_under_pressure.activations.flops import forward_flops
from models_under_pressure.baselines.finetuned.classifier import FrozenStates, make_classifier
from models_under_pressure.baselines.finetuned.reading import Reader, _check_skipping, freeze_states, score
from models_under_pressure.baselines.finetuned.run import _cost, architecture_of
from models_under_pressure.baselines.finetuned.training import Position, train
from models_under_pressure.core.errors import UserError
from models_under_pressure.evaluation.metrics import auroc


@pytest.fixture
def on_cores():
    """Set how many cores there are, for a while."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def trained(config, split, seed=0):
    classifier = make_classifier(config, seed=seed)
    return classifier, train(classifier, split(24), split(8, start=500), config=config, seed=seed)


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("packs", [True, False], ids=["packed", "padded"])
def test_kept_states_change_no_bit_of_the_trained_weights(settings, split, method, packs):
    found = []
    for keeps in (False, True):
        config = settings(method=method, epochs=2, trained_blocks=1, keep_states=keeps, pooling="mean")
        classifier = replace(make_classifier(config, seed=0), packs=packs)
        run = train(classifier, split(24), split(8, start=500), config=config, seed=0)
        found.append((classifier.copies(), run.history))
    (some, history), (others, other_history) = found
    assert history == other_history
    assert all(torch.equal(weight, others[name]) for name, weight in some.items())


def test_frozen_blocks_run_once_in_all_epochs(settings, split, monkeypatch):
    config = settings(epochs=3, trained_blocks=1, keep_states=True)
    classifier = make_classifier(config, seed=0)
    tokens = []
    norm = classifier.decoder.layers[0].input_layernorm
    norm.register_forward_pre_hook(lambda _, args: tokens.append(args[0].shape[0] * args[0].shape[1]))
    data, validation = split(24), split(8, start=500)
    train(classifier, data, validation, config=config, seed=0)
    once = int(data.lengths.sum() + validation.lengths.sum())
    check = len(data.records[0].token_ids)
    assert once <= sum(tokens) <= once + check + 16


@pytest.mark.parametrize("method", ["full", "lora"])
def test_only_the_last_blocks_are_trained(settings, split, method):
    config = settings(method=method, epochs=2, trained_blocks=1)
    classifier = make_classifier(config, seed=0)
    before = {name: weight.detach().clone() for name, weight in classifier.decoder.named_parameters()}
    train(classifier, split(16), split(8), config=config, seed=0)
    changed = {name for name, weight in classifier.decoder.named_parameters() if not torch.equal(weight, before[name])}
    assert changed
    assert all(name.startswith(("layers.2.", "norm.")) for name in changed)
    assert changed <= set(classifier.trained)
    if method == "lora":
        assert {name.split(".")[1] for name in before if "lora_" in name} == {"2"}


def test_a_separable_set_is_learnt_by_the_last_blocks(settings, split):
    config = settings(epochs=12, patience=12, trained_blocks=2, keep_states=True)
    classifier = make_classifier(config, seed=0)
    data, validation, unseen = split(64), split(16, start=1000), split(32, start=2000)
    train(classifier, data, validation, config=config, seed=0)
    assert auroc(score(classifier, unseen.records, batch_tokens=256), unseen.labels) > 0.95


def test_a_model_cut_to_its_first_blocks_reads_what_the_last_of_them_leaves(settings, split):
    whole, cut = (make_classifier(settings(blocks=blocks), seed=0) for blocks in (None, 2))
    assert len(cut.decoder.layers) == 2
    ids = torch.tensor(split(1).records[0].token_ids[None].astype(np.int64))
    with torch.inference_mode():
        states = whole.decoder(input_ids=ids, output_hidden_states=True).hidden_states[2]
        torch.testing.assert_close(cut.decoder(input_ids=ids).last_hidden_state, whole.decoder.norm(states))


@pytest.mark.parametrize("packs", [True, False], ids=["packed", "padded"])
def test_the_mean_is_over_a_records_own_tokens(settings, split, packs):
    classifier = replace(make_classifier(settings(pooling="mean"), seed=0), packs=packs)
    with torch.no_grad():
        classifier.head.weight[1].copy_(torch.linspace(-1, 1, 64))
    records = split(12).records
    expected = []
    with torch.inference_mode():
        for record in records:
            ids = torch.tensor(record.token_ids[None].astype(np.int64))
            low, high = classifier.head(classifier.decoder(input_ids=ids).last_hidden_state[0].mean(dim=0))
            expected.append(float(high - low))
    np.testing.assert_allclose(score(classifier, records, batch_tokens=300), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_scores_are_the_same_bits_on_any_number_of_cores_and_in_any_batch(settings, split, pooling, on_cores):
    classifier, _ = trained(settings(epochs=1, pooling=pooling), split)
    records = split(40).records
    on_cores(1)
    expected = score(classifier, records, batch_tokens=100)
    for cores, budget in ((2, 100), (3, 700), (2, 1)):
        on_cores(cores)
        np.testing.assert_array_equal(score(classifier, records, batch_tokens=budget), expected)


def test_records_of_the_same_tokens_are_read_once_and_tie(settings, split, monkeypatch):
    classifier, _ = trained(settings(epochs=1), split)
    records = split(12).records
    expected = score(classifier, records, batch_tokens=100)
    read = []
    logits = Reader.logits
    monkeypatch.setattr(Reader, "logits", lambda self, batch: read.extend(batch) or logits(self, batch))
    found = score(classifier, [*records, *reversed(records)], batch_tokens=100)
    np.testing.assert_array_equal(found, [*expected, *reversed(expected)])
    assert len(read) == len({record.token_ids.tobytes() for record in records})


def test_a_run_of_one_thread_ends_with_the_same_bits_on_any_number_of_cores(settings, split, on_cores):
    config = settings(epochs=1, threads=1, trained_blocks=1, keep_states=True, pooling="mean", head="fitted")
    found = []
    for cores in (1, 3):
        on_cores(cores)
        found.append(trained(config, split)[0].copies())
        assert torch.get_num_threads() == cores
    assert all(torch.equal(weight, found[1][name]) for name, weight in found[0].items())


@pytest.mark.parametrize("precision", ["mixed", "bfloat16"])
def test_in_bfloat16_the_batch_moves_scores_by_less_than_its_rounding(settings, split, precision):
    records = split(40).records
    scores = {}
    for name in ("float32", precision):
        classifier = make_classifier(settings(precision=name, pooling="mean"), seed=0)
        with torch.no_grad():
            classifier.head.weight[1].copy_(torch.linspace(-1, 1, 64))
        scores[name] = [score(classifier, records, batch_tokens=budget) for budget in (1, 300, 2000)]
    alone, *others = scores[precision]
    rounding = np.abs(alone - scores["float32"][0]).max()
    assert 0 < rounding < 0.1 * np.ptp(alone)
    assert max(np.abs(other - alone).max() for other in others) <= rounding


def test_states_that_are_not_the_models_are_refused(settings, split):
    config = settings(trained_blocks=1, keep_states=True)
    classifier = make_classifier(config, seed=0)
    tokens = split(1).records[0].token_ids
    with pytest.raises(UserError, match="cannot be skipped.*keep_states: false"):
        _check_skipping(
            replace(classifier, frozen=FrozenStates({tokens.tobytes(): torch.zeros(len(tokens), 64)})), tokens
        )
    freeze_states(classifier, split(1).records, batch_tokens=64)


def test_blocks_that_do_not_fit_are_refused_with_a_remedy(settings):
    with pytest.raises(ValidationError, match="keep_states needs trained_blocks"):
        settings(keep_states=True)
    with pytest.raises(ValidationError, match="trained_blocks 3 is more than blocks 2"):
        settings(blocks=2, trained_blocks=3)
    with pytest.raises(UserError, match="has 3 blocks, not 4.*lower `trained_blocks`"):
        make_classifier(settings(trained_blocks=4), seed=0)
    with pytest.raises(UserError, match="no layer 8"):
        make_classifier(settings(blocks=9), seed=0)


def test_operations_of_frozen_blocks_are_counted_once_where_they_are_kept(settings, split):
    data, validation = split(24), split(8, start=500)
    architecture = architecture_of(settings())
    lengths = (data.lengths, validation.lengths)
    below = sum(int(forward_flops(architecture, one, layer=2).sum()) for one in lengths)
    top_data, top_validation = (
        int((forward_flops(architecture, one) - forward_flops(architecture, one, layer=2)).sum()) for one in lengths
    )
    for keeps, times in ((True, 1), (False, 5)):
        config = settings(trained_blocks=1, keep_states=keeps)
        run = Position(history=[None] * 5, seconds=1.0)
        cost = _cost(run, data, validation, config=config)
        assert cost.flops == 5 * (2 * top_data + top_validation) + times * below
