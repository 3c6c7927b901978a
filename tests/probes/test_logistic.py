"""Solvers on one vector per record: standardised, weighed, folded back, and chosen by folds of whole groups."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from models_under_pressure.core.errors import UserError
from models_under_pressure.probes import logistic
from models_under_pressure.probes.family import (
    FamilyConfig,
    RecordVectors,
    Weights,
    random_directions,
    start_from_mean,
)
from models_under_pressure.probes.logistic import (
    LogisticConfig,
    best_by_cross_validation,
    fold,
    grouped_folds,
    mean_token_solution,
    solve_logistic,
    standardise,
)


def vectors(records=30, hidden=4, seed=0, weights=None):
    generator = np.random.default_rng(seed)
    labels = np.arange(records) % 3 == 0
    values = generator.normal(size=(records, hidden)) * [0.1, 1.0, 10.0, 3.0][:hidden] + labels[:, None] - 2.0
    return RecordVectors(values, labels, [f"g{n // 2}" for n in range(records)], weights)


def test_standardised_features_have_mean_zero_and_deviation_one_and_constant_ones_stay():
    data = vectors()
    data.values[:, 1] = -7e3 + 1e-5 * (np.arange(30) % 2)  # moved by rounding only
    values, centre, scale = standardise(data)
    np.testing.assert_allclose(centre, data.values.mean(axis=0))
    np.testing.assert_allclose(scale[[0, 2, 3]], data.values[:, [0, 2, 3]].std(axis=0))
    assert scale[1] == 1.0
    np.testing.assert_allclose(values * scale + centre, data.values)
    small = RecordVectors(data.values.astype(np.float32), data.labels, data.groups)
    assert [part.dtype for part in standardise(small)[1:]] == [np.float64] * 2


def test_a_weight_of_three_standardises_as_the_record_three_times():
    counts = 1 + np.arange(30) % 3
    found = standardise(vectors(weights=counts * 0.5))
    expected = standardise(vectors().only(np.arange(30).repeat(counts)))
    for one, other in zip(found[1:], expected[1:], strict=True):
        np.testing.assert_allclose(one, other)


def test_some_records_keep_their_groups_and_weights():
    data = vectors(6, weights=np.arange(6) + 1.0)
    for rows in (np.array([4, 1]), np.array([False, True, False, False, True, False])):
        found = data.only(rows)
        order = np.arange(6)[rows]
        np.testing.assert_array_equal(found.values, data.values[order])
        assert found.labels.tolist() == data.labels[order].tolist()
        assert found.groups == [data.groups[row] for row in order]
        assert found.weights.tolist() == (order + 1).tolist()
    assert vectors(6).only(np.array([0])).weights is None


def test_weights_for_standardised_values_become_weights_for_values_as_they_are():
    generator = np.random.default_rng(0)
    weights, centre, values = generator.normal(size=(3, 5))
    scale = generator.uniform(0.1, 9.0, size=5)
    found = fold(weights, 0.75, centre, scale)
    assert (found.projection.shape, found.bias.shape) == ((5, 1), (1,))
    np.testing.assert_allclose(values @ found.projection + found.bias, ((values - centre) / scale) @ weights + 0.75)
    assert found.named.keys() == {"projection", "bias"}
    assert Weights(found.projection, found.bias, {"out": values}).named["out"] is values


@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("strength", [1e-2, 1.0])
def test_the_solution_is_scikit_learns_on_standardised_values(intercept, strength):
    data = vectors(weights=1.0 + np.arange(30) % 2)
    config = LogisticConfig(family="x", inverse_regularisation=strength, fit_intercept=intercept)
    found = solve_logistic(data, config, 0)
    values, _, _ = standardise(data)
    oracle = LogisticRegression(C=strength, fit_intercept=intercept, tol=1e-10, max_iter=10_000)
    oracle.fit(values, data.labels, sample_weight=data.weights)
    logits = (data.values @ found.projection + found.bias)[:, 0]
    np.testing.assert_allclose(logits, oracle.decision_function(values), rtol=1e-3, atol=1e-4)


def test_descent_starts_at_the_papers_penalty_without_an_intercept():
    found, config = mean_token_solution(vectors()), LogisticConfig(family="x")
    assert (config.inverse_regularisation, config.fit_intercept) == (1e-3, False)
    expected = solve_logistic(vectors(), config, 0)
    np.testing.assert_array_equal(found.projection, expected.projection)
    np.testing.assert_array_equal(found.bias, expected.bias)
    centre = vectors().values.mean(axis=0)
    assert centre @ found.projection[:, 0] + found.bias[0] == pytest.approx(0, abs=1e-12)


def test_the_best_candidate_is_chosen_among_those_given_and_by_the_seed():
    data = vectors(60, seed=2)
    config = LogisticConfig(family="x", candidates=(1e-4, 1.0))
    chosen = solve_logistic(data, config, 0).projection
    ends = [
        solve_logistic(data, LogisticConfig(family="x", inverse_regularisation=c), 0).projection for c in (1e-4, 1.0)
    ]
    assert sum(np.array_equal(chosen, end) for end in ends) == 1
    seen = []

    def solve(part, candidate):
        seen.append((candidate, len(part.labels), *part.groups))
        return Weights(np.eye(4)[:, [0]] * candidate, np.zeros(1))

    assert best_by_cross_validation(solve, data, (-1.0, 2.0, 3.0), 5) == 2.0, "the first of equals"
    assert [one[0] for one in seen] == [-1.0] * 5 + [2.0] * 5 + [3.0] * 5
    folds = grouped_folds(data.labels, data.groups, 5, 5)
    assert [one[2:] for one in seen[:5]] == [tuple(data.groups[row] for row in train) for train, _ in folds]


def test_folds_hold_every_record_once_both_classes_and_whole_groups():
    data = vectors(60)
    folds = grouped_folds(data.labels, data.groups, 4, 3)
    assert sorted(row for _, test in folds for row in test) == list(range(60))
    for train, test in folds:
        assert sorted([*train, *test]) == list(range(60))
        assert not {data.groups[row] for row in train} & {data.groups[row] for row in test}
        assert set(data.labels[test]) == set(data.labels[train]) == {True, False}
    again, other = (grouped_folds(data.labels, data.groups, 4, seed) for seed in (3, 4))
    assert [test.tolist() for _, test in again] == [test.tolist() for _, test in folds]
    assert [test.tolist() for _, test in other] != [test.tolist() for _, test in folds]


def test_as_many_groups_as_folds_are_enough_and_fewer_are_refused():
    labels, groups = np.tile([True, False], 3), [f"g{n // 2}" for n in range(6)]
    assert len(grouped_folds(labels, groups, 3, 0)) == 3
    for count, wrong in ((4, labels), (3, np.arange(6) < 2)):
        with pytest.raises(UserError) as caught:
            grouped_folds(wrong, groups, count, 0)
        assert str(caught.value) == (
            f"6 records in 3 groups are too few for cross-validation in {count} folds. "
            "Remedy: give more groups of both classes, or ask for no cross-validation or fewer folds."
        )


def test_random_directions_fill_the_range_of_a_linear_layer_and_tell_seeds_apart():
    one, other = (random_directions(16, 500, np.random.default_rng(seed)) for seed in (0, 1))
    assert one.shape == (16, 500)
    assert 0.249 < one.max() <= 0.25
    assert -0.25 <= one.min() < -0.249
    assert not np.allclose(one, other)
    mean = Weights(np.full((16, 1), 3.0), np.array([0.5]))
    found = start_from_mean(mean, FamilyConfig(family="x"), np.random.default_rng(2))
    np.testing.assert_allclose(found.projection - 3.0, random_directions(16, 1, np.random.default_rng(2)))
    assert found.bias.tolist() == [0.5]


def test_the_folds_of_a_choice_are_those_of_the_seed(monkeypatch):
    seeds = []
    monkeypatch.setattr(logistic, "grouped_folds", lambda *found: seeds.append(found[2:]) or grouped_folds(*found))
    solve_logistic(vectors(60), LogisticConfig(family="x", candidates=(1e-2,)), 17)
    assert seeds == [(5, 17)]
