"""Sums, maxima and shares within records, against plain loops over them."""

import numpy as np
import pytest
import torch

from models_under_pressure.probes.families import FAMILIES
from models_under_pressure.probes.pooling import (
    LastStream,
    MeanStream,
    Segments,
    mean_of_chosen,
    pool_last,
    pool_mean,
    weighted_sum,
)

LENGTHS = [3, 1, 4]
OFFSETS = np.array([0, 3, 4, 8])
VALUES = torch.tensor([-3.0, -1.0, -1.0, -7.0, 2.0, 5.0, 5.0, -4.0], dtype=torch.float64)
CONFIG = FAMILIES["mean"].config()


@pytest.fixture
def segments():
    return Segments.of(OFFSETS, np.array([0, 1, 0, 0, 1, 1, 0, 0], dtype=bool))


def records(values):
    return np.split(np.asarray(values.detach()), OFFSETS[1:-1])


def test_every_token_knows_its_record_and_its_place_in_it(segments):
    assert segments.offsets.dtype == torch.int64
    assert segments.lengths.tolist() == LENGTHS
    assert segments.record.tolist() == [0, 0, 0, 1, 2, 2, 2, 2]
    assert segments.places.tolist() == [0, 1, 2, 0, 0, 1, 2, 3]
    assert segments.spread(torch.tensor([7.0, 8.0, 9.0])).tolist() == [7, 7, 7, 8, 9, 9, 9, 9]


def test_sentences_end_where_they_are_said_to_and_at_the_end_of_a_record(segments):
    assert segments.sentences.offsets.tolist() == [0, 2, 3, 4, 5, 6, 8]
    assert segments.sentences.sentence_ends is None
    with pytest.raises(ValueError, match="^sentence ends are not known$"):
        _ = Segments.of(OFFSETS).sentences


@pytest.mark.parametrize("how", ["sum", "mean", "max"])
def test_what_is_reduced_is_reduced_within_each_record(segments, how):
    found = getattr(segments, how)(VALUES)
    np.testing.assert_allclose(found, [getattr(np, how)(record) for record in records(VALUES)])
    columns = torch.stack([VALUES, -VALUES], dim=1)
    if how != "mean":
        expected = [getattr(np, how)(record, axis=0) for record in records(columns)]
        np.testing.assert_allclose(getattr(segments, how)(columns), expected)
        np.testing.assert_allclose(getattr(segments, how)(columns.t().contiguous().t()), expected)


def test_the_first_of_equal_maxima_is_meant_and_takes_all_of_the_gradient(segments):
    assert segments.argmax(VALUES).tolist() == [1, 3, 5]
    values = VALUES.clone().requires_grad_()
    assert not segments.max(values).requires_grad
    values[segments.argmax(values)].sum().backward()
    assert values.grad.tolist() == [0, 1, 0, 1, 0, 1, 0, 0]


def test_shares_are_exponentials_that_sum_to_one_in_each_record_and_never_overflow(segments):
    for values in (VALUES, VALUES * 1e4):
        found = segments.softmax(values)
        expected = np.concatenate([np.exp(record - record.max()) for record in records(values)])
        np.testing.assert_allclose(found, expected / segments.spread(segments.sum(torch.from_numpy(expected))))
        np.testing.assert_allclose(segments.sum(found), 1)


def test_a_pooled_logit_is_the_sum_of_what_the_tokens_add(segments):
    shares = torch.arange(8.0, dtype=torch.float64)
    pooled = weighted_sum(VALUES, segments, shares)
    np.testing.assert_allclose(pooled.contributions, VALUES * shares)
    np.testing.assert_allclose(pooled.logits, [(-1 - 2), -21, (8 + 25 + 30 - 28)])
    chosen = torch.tensor([True, False, True, True, True, True, False, False])
    pooled = mean_of_chosen(VALUES, segments, chosen)
    np.testing.assert_allclose(pooled.logits, [-2, -7, 3.5])
    np.testing.assert_allclose(pooled.contributions, [-1.5, 0, -0.5, -7, 1, 2.5, 0, 0])


@pytest.mark.parametrize(
    ("pool", "stream", "formula"),
    [(pool_mean, MeanStream, np.mean), (pool_last, LastStream, lambda record: record[-1])],
)
def test_a_mean_and_a_last_token_are_the_same_as_they_run_along(segments, pool, stream, formula):
    found = pool(torch.stack([VALUES, VALUES + 1], dim=1), segments, CONFIG)
    np.testing.assert_allclose(found.logits, [formula(record) for record in records(VALUES)])
    np.testing.assert_allclose(segments.sum(found.contributions), found.logits)
    for record in records(VALUES):
        running = stream(CONFIG)
        for count, value in enumerate(record, start=1):
            assert running.update(np.array([value, 99.0]), False) == pytest.approx(formula(record[:count]))
