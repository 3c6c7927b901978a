"""Each family's pooling against a plain computation of its formula, one record at a time, in float64."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models_under_pressure.probes.families import FAMILIES
from models_under_pressure.probes.pooling import Segments

NAMES = sorted(FAMILIES)


def softmax(values):
    powers = np.exp(values - values.max())
    return powers / powers.sum()


def mean(z, ends, config):
    return z[:, 0].mean()


def last(z, ends, config):
    return z[-1, 0]


def highest(z, ends, config):
    return z[:, 0].max()


def rolling(z, ends, config):
    if len(z) < config.window:
        return z[:, 0].mean()
    return max(z[start : start + config.window, 0].mean() for start in range(len(z) - config.window + 1))


def weighted_by_itself(z, ends, config):
    return float(softmax(z[:, 0] / config.temperature) @ z[:, 0])


def attention(z, ends, config):
    return float(softmax(z[:, 0]) @ z[:, 1])


def heads(z, ends, config):
    return sum(float(softmax(z[:, head]) @ z[:, config.heads + head]) for head in range(config.heads))


def top(z, ends, config):
    return np.sort(z[:, 0])[::-1][: config.k].mean()


def sentences(z, ends, config):
    parts = np.split(z[:, 0], np.flatnonzero(ends) + 1)
    return max(part.mean() for part in parts if len(part))


def highest_of_each_head(z, ends, config):
    return z.max(axis=0).sum()


def rolling_attention(z, ends, config):
    width = min(config.window, len(z))
    scores, values = np.split(z, 2, axis=1)
    windows = [slice(start, start + width) for start in range(len(z) - width + 1)]
    return sum(max(softmax(s[own]) @ v[own] for own in windows) for s, v in zip(scores.T, values.T, strict=True))


def running_average(z, ends, config):
    averages = [
        np.average(z[: count + 1, 0], weights=config.decay ** np.arange(count, -1, -1)) for count in range(len(z))
    ]
    return max(averages[min(config.window, len(z)) - 1 :])


def gated(z, ends, config):
    values, gates = np.split(z, 2, axis=1)
    return (values * np.log1p(np.exp(gates))).sum(axis=1).mean()


FORMULAS = {
    "mean": mean,
    "mean_logistic": mean,
    "difference_of_means": mean,
    "lda": mean,
    "last": last,
    "max": highest,
    "rolling_mean_max": rolling,
    "softmax": weighted_by_itself,
    "attention": attention,
    "multi_head_attention": heads,
    "top_k_mean": top,
    "sentence_mean_max": sentences,
    "mlp": mean,
    "multimax": highest_of_each_head,
    "rolling_attention": rolling_attention,
    "ema": running_average,
    "gated_bilinear": gated,
}
COLUMNS = {"attention": 2, "multi_head_attention": 8, "multimax": 10, "rolling_attention": 20, "gated_bilinear": 16}


def tokens(name, lengths, seed, ties=False):
    generator = np.random.default_rng(seed)
    projections = generator.normal(size=(sum(lengths), COLUMNS.get(name, 1))) * 3 - 4  # mostly negative
    if ties:
        projections = np.round(projections)
    ends = generator.random(sum(lengths)) < 0.2
    return torch.from_numpy(projections), Segments.of(np.cumsum([0, *lengths]), ends)


def pool(name, projections, segments, **settings):
    config = FAMILIES[name].config(**settings)
    return FAMILIES[name].pool(projections, segments, config)


def test_every_family_has_a_formula_here():
    assert set(FORMULAS) == set(FAMILIES)


@pytest.mark.parametrize("name", NAMES)
@given(lengths=st.lists(st.integers(1, 90), min_size=1, max_size=8), seed=st.integers(0, 2**32), ties=st.booleans())
def test_pooling_equals_the_formula_on_each_record_alone(name, lengths, seed, ties):
    projections, segments = tokens(name, lengths, seed, ties)
    config = FAMILIES[name].config()
    expected = [
        FORMULAS[name](projections[begin:end].numpy(), segments.sentence_ends[begin:end].numpy(), config)
        for begin, end in zip(segments.offsets, segments.offsets[1:], strict=False)
    ]
    np.testing.assert_allclose(pool(name, projections, segments).logits, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
@given(lengths=st.lists(st.integers(1, 90), min_size=1, max_size=6), seed=st.integers(0, 2**32))
def test_what_the_tokens_add_sums_to_the_logit(name, lengths, seed):
    projections, segments = tokens(name, lengths, seed)
    pooled = pool(name, projections, segments)
    np.testing.assert_allclose(segments.sum(pooled.contributions), pooled.logits, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
@given(lengths=st.lists(st.integers(1, 90), min_size=2, max_size=6), seed=st.integers(0, 2**32))
def test_a_record_scores_the_same_to_the_last_bit_in_any_company(name, lengths, seed):
    projections, segments = tokens(name, lengths, seed)
    together = pool(name, projections, segments).logits
    alone = [
        pool(name, projections[begin:end], Segments.of([0, end - begin], segments.sentence_ends[begin:end]))
        for begin, end in zip(segments.offsets, segments.offsets[1:], strict=False)
    ]
    assert together.tolist() == [float(pooled.logits[0]) for pooled in alone]


@pytest.mark.parametrize("name", NAMES)
@given(seed=st.integers(0, 2**32))
def test_the_gradient_is_the_slope_of_the_logit(name, seed):
    projections, segments = tokens(name, [7, 1, 55], seed)
    projections.requires_grad_()
    (gradient,) = torch.autograd.grad(pool(name, projections, segments).logits.sum(), projections)
    projections = projections.detach()
    direction = torch.from_numpy(np.random.default_rng(seed).normal(size=projections.shape))
    step = 1e-6
    ahead = pool(name, projections + step * direction, segments).logits
    behind = pool(name, projections - step * direction, segments).logits
    slope = segments.sum((gradient * direction).sum(dim=1))
    np.testing.assert_allclose((ahead - behind) / (2 * step), slope, rtol=1e-4, atol=1e-6)


def test_the_maximum_of_a_negative_record_is_negative_beside_a_longer_one():
    projections = torch.tensor([[-3.0], [-2.0], [-9.0], [-9.0], [-9.0]])
    pooled = pool("max", projections, Segments.of([0, 2, 5]))
    assert pooled.logits.tolist() == [-2.0, -9.0]


@pytest.mark.parametrize("window", [1, 3, 40, 200])
def test_a_record_shorter_than_the_window_is_one_window(window):
    projections, segments = tokens("rolling_mean_max", [1, 2, 3, 50, 40, 39, 41], seed=0)
    config = FAMILIES["rolling_mean_max"].config(window=window)
    expected = [
        rolling(projections[begin:end].numpy(), None, config)
        for begin, end in zip(segments.offsets, segments.offsets[1:], strict=False)
    ]
    found = pool("rolling_mean_max", projections, segments, window=window).logits
    np.testing.assert_allclose(found, expected, rtol=1e-12)
