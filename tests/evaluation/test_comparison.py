"""Verdicts: a change is called by its name, and noise is called noise."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models_under_pressure.evaluation.comparison import Verdict, compare, compare_means
from models_under_pressure.evaluation.differences import holm, mean_difference, unpaired_difference
from models_under_pressure.evaluation.intervals import Difference, Estimate
from models_under_pressure.evaluation.scores import ScoreList


def score_list(*, signal=1.5, size=300, seed=0, noise=0, noise_size=0.3, dataset="mt", probe="mean", training_seed=0):
    generator = np.random.default_rng(seed)
    labels = np.arange(size) % 2 == 0
    logits = generator.normal(size=size) + signal * labels
    logits = logits + noise_size * np.random.default_rng([99, noise]).normal(size=size)
    return ScoreList(
        dataset=dataset,
        probe=probe,
        seed=training_seed,
        ids=tuple(f"{number:05}" for number in range(size)),
        groups=tuple(f"g{number // 2}" for number in range(size)),
        labels=labels,
        logits=logits,
        probabilities=1 / (1 + np.exp(-logits)),
    )


def test_a_clear_gain_is_better_and_its_undoing_is_worse():
    poor, good = score_list(signal=0.8), score_list(signal=1.8)
    (row,) = compare([poor], [good])
    assert row.verdict is Verdict.BETTER
    assert row.difference is not None
    assert 0 < row.difference.low < row.difference.value == pytest.approx(row.after - row.before)
    (row,) = compare([good], [poor])
    assert row.verdict is Verdict.WORSE


def test_a_change_that_only_moves_noise_is_noise():
    (row,) = compare([score_list(noise=1)], [score_list(noise=2)])
    assert row.verdict is Verdict.NOISE
    assert row.difference.value != 0.0
    assert row.difference.low < 0 < row.difference.high


def test_the_same_scores_are_unchanged_in_any_order_of_records():
    scores = score_list()
    order = np.random.default_rng(0).permutation(300)
    shuffled = replace(
        scores,
        ids=tuple(scores.ids[row] for row in order),
        groups=tuple(scores.groups[row] for row in order),
        labels=scores.labels[order],
        logits=scores.logits[order],
        probabilities=scores.probabilities[order],
    )
    (row,) = compare([scores], [shuffled])
    assert row.verdict is Verdict.UNCHANGED
    assert row.difference.value == 0.0


def test_a_gain_too_small_to_matter_is_noise_however_certain():
    before = score_list(size=300)
    nudged = before.logits.copy()
    nudged[before.labels] += 1e-4
    (row,) = compare([before], [replace(before, logits=nudged)])
    assert row.verdict is Verdict.NOISE


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda s: replace(s, ids=(*s.ids[:-1], "another")), "1 added, 1 removed"),
        (lambda s: replace(s, labels=np.concatenate([~s.labels[:4], s.labels[4:]])), "4 relabelled"),
    ],
)
def test_changed_records_are_not_compared(change, reason):
    (row,) = compare([score_list(signal=0.5)], [change(score_list(signal=2.5))])
    assert row.verdict is Verdict.NOT_COMPARABLE
    assert row.reason == reason
    assert row.difference is None
    assert row.before < row.after


def test_records_whose_text_was_edited_are_not_compared():
    (row,) = compare([score_list(signal=0.5)], [score_list(signal=2.5)], changed={"mt": "2 texts edited"})
    assert (row.verdict, row.reason) == (Verdict.NOT_COMPARABLE, "2 texts edited")


def test_probes_on_one_side_only_are_named():
    rows = compare([score_list(probe="old")], [score_list(probe="new")])
    assert [(row.probe, row.reason) for row in rows] == [("new", "new"), ("old", "removed")]


def test_a_dataset_of_one_class_is_named():
    scores = replace(score_list(), labels=np.ones(300, dtype=bool))
    (row,) = compare([scores], [scores])
    assert (row.verdict, row.reason, row.before) == (Verdict.NOT_COMPARABLE, "one class only", None)


def test_several_seeds_are_averaged_and_counted():
    before = [score_list(noise=number, training_seed=number) for number in (1, 2, 3)]
    after = [score_list(noise=number, training_seed=number) for number in (4, 5)]
    (row,) = compare(before, after)
    assert row.seeds == 2
    assert row.verdict is Verdict.NOISE


def test_holm_multiplies_the_smallest_by_all_the_next_by_one_less():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_lies_between_no_correction_and_bonferronis(p_values):
    for raw, adjusted in zip(p_values, holm(p_values), strict=True):
        assert raw <= adjusted <= min(1.0, len(p_values) * raw) + 1e-12


def test_the_correction_is_over_the_datasets_of_one_probe():
    before = [score_list(dataset=name, probe=probe, noise=1) for name in "ab" for probe in "xyz"]
    after = [score_list(dataset=name, probe=probe, noise=2) for name in "ab" for probe in "xyz"]
    for row in compare(before, after):
        assert row.adjusted_p == pytest.approx(min(1.0, 2 * row.difference.p_value))


@pytest.mark.slow
def test_a_false_alarm_in_any_dataset_stays_below_the_level():
    """Six datasets that only move noise: Holm holds the chance of one false verdict at 5 %."""
    alarms = 0
    runs = 400
    for run in range(runs):
        before, after = (
            [
                score_list(size=200, seed=10 * run + k, noise=2 * (10 * run + k) + side, dataset=f"d{k}")
                for k in range(6)
            ]
            for side in (0, 1)
        )
        alarms += any(row.verdict is not Verdict.NOISE for row in compare(before, after))
    assert alarms / runs < 0.05 + 3 * np.sqrt(0.05 * 0.95 / runs)
    assert alarms > 0


def test_the_mean_finds_what_no_single_dataset_can_show():
    names = [f"d{number}" for number in range(12)]
    before = [score_list(signal=1.0, seed=k, noise=k, size=160, dataset=name) for k, name in enumerate(names)]
    after = [score_list(signal=1.15, seed=k, noise=50 + k, size=160, dataset=name) for k, name in enumerate(names)]
    rows = compare(before, after)
    (mean,) = compare_means(rows, "dev")
    assert sum(row.verdict is Verdict.BETTER for row in rows) <= 2
    assert mean.verdict is Verdict.BETTER
    assert mean.datasets == 12
    assert mean.difference.value == pytest.approx(mean.after - mean.before)


def test_a_mean_difference_adds_variances():
    parts = [Difference(0.1, 0, 0, 0.03, 1), Difference(0.3, 0, 0, 0.04, 1)]
    mean = mean_difference(parts)
    assert (mean.value, mean.error) == pytest.approx((0.2, 0.025))


def test_an_unpaired_difference_is_that_of_zou_and_donner():
    """Their example: proportions 56/70 and 48/80, Wilson limits; Newcombe (1998), table II, method 10."""
    found = unpaired_difference(Estimate(48 / 80, 0.4904, 0.7004), Estimate(56 / 70, 0.6918, 0.8770))
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=2e-4)
    assert found.p_value < 0.05


def test_an_unpaired_interval_holds_no_change_exactly_when_its_p_value_says_so():
    generator = np.random.default_rng(0)
    for _ in range(200):
        first, second = (
            Estimate(value, value - down * value, value + up * (1 - value))
            for value, down, up in generator.uniform(0.05, 0.95, size=(2, 3))
        )
        for confidence in (0.9, 0.95, 0.99):
            found = unpaired_difference(first, second, confidence)
            holds = found.low <= 0 <= found.high
            assert holds == (found.p_value >= 1 - confidence), (first, second, found)


def test_an_unpaired_interval_of_one_side_known_exactly_is_that_of_the_other():
    found = unpaired_difference(Estimate(0.5, 0.5, 0.5), Estimate(0.9, 0.7, 0.95))
    assert (found.low, found.high) == pytest.approx((0.2, 0.45))
    same = unpaired_difference(Estimate(0.9, 0.7, 0.95), Estimate(0.9, 0.7, 0.95))
    assert (same.value, same.p_value) == (0.0, 1.0)
