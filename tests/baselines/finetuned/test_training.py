"""The training loop against a naive one, the best epoch's weights, and mistakes of users."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from models_under_pressure.baselines.finetuned.classifier import make_classifier
from models_under_pressure.baselines.finetuned.reading import Split, score
from models_under_pressure.baselines.finetuned.training import learning_rate, train
from models_under_pressure.core.errors import UserError
from models_under_pressure.evaluation.metrics import auroc


def naive_epoch(config, data, *, seed):
    """PyTorch's AdamW on the mean loss of each step's records, which go through Hugging Face's model one by one."""
    classifier = make_classifier(config, seed=seed)
    weights = list(classifier.trained.values())
    optimiser = torch.optim.AdamW(weights, lr=config.learning_rate, weight_decay=config.weight_decay)
    classifier.decoder.train()
    order = np.random.default_rng([seed, 0]).permutation(len(data.records))
    for start in range(0, len(order), config.batch_size):
        rows = order[start : start + config.batch_size]
        losses = []
        for row in rows:
            ids = torch.tensor(data.records[row].token_ids[None].astype(np.int64))
            logits = classifier.head(classifier.decoder(input_ids=ids).last_hidden_state[:, -1])
            losses.append(cross_entropy(logits, torch.tensor([int(data.labels[row])])))
        optimiser.zero_grad()
        torch.stack(losses).mean().backward()
        torch.nn.utils.clip_grad_norm_(weights, config.max_gradient_norm)
        optimiser.step()
    return classifier.copies()


@pytest.mark.parametrize("batch_tokens", [1, 90, 10_000], ids=["one record a pass", "a few", "a step a pass"])
@pytest.mark.parametrize("checkpointing", [False, True], ids=["", "checkpointed"])
def test_accumulated_passes_are_steps_on_the_mean_loss_also_the_last_smaller_one(
    settings, split, batch_tokens, checkpointing
):
    config = settings(
        epochs=1, batch_size=8, lora_dropout=0.0, batch_tokens=batch_tokens, gradient_checkpointing=checkpointing
    )
    data = split(18)  # two whole steps and one of two records
    classifier = make_classifier(config, seed=3)
    train(classifier, data, split(8), config=config, seed=3)
    expected = naive_epoch(config, data, seed=3)
    for name, weight in classifier.trained.items():
        torch.testing.assert_close(weight.detach(), expected[name], rtol=1e-2, atol=2e-4, msg=name)


def test_fewer_records_than_a_step_are_learnt_from(settings, split):
    config = settings(epochs=1, batch_size=1000)
    classifier = make_classifier(config, seed=0)
    before = classifier.copies()
    train(classifier, split(6), split(6), config=config, seed=0)
    assert any(not torch.equal(weight, before[name]) for name, weight in classifier.trained.items())


@pytest.mark.parametrize("method", ["full", "lora", "qlora"])
def test_the_weights_kept_are_the_best_epochs_not_the_last_ones(settings, split, method):
    """The validation labels are the wrong way round, so that every epoch is worse than the one before."""
    config = settings(method=method, epochs=5, learning_rate=2e-3)
    validation = split(24, start=500, reversed_labels=True)
    classifier = make_classifier(config, seed=0)
    trained = train(classifier, split(48), validation, config=config, seed=0)
    assert trained.best.number < len(trained.history)
    assert trained.best.merit == max(epoch.merit for epoch in trained.history)
    logits = score(classifier, validation.records, batch_tokens=config.batch_tokens)
    loss = float((np.logaddexp(0.0, logits) - validation.labels * logits).mean())
    assert loss == trained.best.validation_loss
    assert loss != trained.history[-1].validation_loss
    assert auroc(logits, validation.labels) == trained.best.validation_auroc


def test_training_stops_when_the_patience_is_used_up(settings, split):
    config = settings(epochs=20, patience=2, learning_rate=2e-3)
    validation = split(24, start=500, reversed_labels=True)
    trained = train(make_classifier(config, seed=0), split(32), validation, config=config, seed=0)
    assert len(trained.history) == trained.best.number + 2


def test_the_rate_falls_by_steps(settings):
    config = settings(learning_rate=1e-4, decay_every=4, decay=0.5)
    rates = [learning_rate(config, epoch) for epoch in range(9)]
    assert rates == pytest.approx([1e-4] * 4 + [5e-5] * 4 + [2.5e-5])
    assert all(after <= before for before, after in pairwise(rates))


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(settings, split):
    config = settings(epochs=2)
    copies = []
    for seed in (0, 0, 1):
        classifier = make_classifier(config, seed=seed)
        train(classifier, split(20), split(8), config=config, seed=seed)
        copies.append(classifier.copies())
    assert all(torch.equal(copies[0][name], copies[1][name]) for name in copies[0])
    assert not torch.equal(copies[0]["head.weight"], copies[2]["head.weight"])


def test_a_loss_that_is_not_finite_stops_the_run_with_a_remedy(settings, split):
    config = settings(epochs=1)
    classifier = make_classifier(config, seed=0)
    with torch.no_grad():
        classifier.head.weight.fill_(float("nan"))
    with pytest.raises(UserError, match=r"not finite in epoch 1, step 1.*learning_rate"):
        train(classifier, split(8), split(8), config=config, seed=0)


def test_a_split_of_one_class_is_refused(settings, split):
    config = settings()
    data = split(8)
    low = Split(data.records[1::2], data.labels[1::2], data.report)
    with pytest.raises(UserError, match=r"the validation records are of fewer than two classes \(4 records\)"):
        train(make_classifier(config, seed=0), data, low, config=config, seed=0)
