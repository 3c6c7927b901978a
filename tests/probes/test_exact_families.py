"""Families with a solver, against scikit-learn and closed forms on the records' mean or last tokens."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from models_under_pressure.core.errors import UserError
from models_under_pressure.probes.data import TrainingData
from models_under_pressure.probes.families import FAMILIES
from models_under_pressure.probes.training import fit_probe


def fit(name, data, seed=0, **settings):
    return fit_probe(FAMILIES[name].config(**settings), data, None, seed=seed)


def rows(data, reduce):
    activations = data.activations
    bounds = zip(activations.offsets, activations.offsets[1:], strict=False)
    return np.array([reduce(activations.values[begin:end].astype(np.float64)) for begin, end in bounds])


def mean(values):
    return values.mean(axis=0)


def last(values):
    return values[-1]


@pytest.mark.parametrize("shrinkage", ["auto", 0.0, 0.3, 1.0])
def test_lda_is_that_of_scikit_learn(planted, shrinkage):
    train, test = planted(seed=1), planted(seed=2)
    scaler = StandardScaler().fit(rows(train, mean))
    oracle = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage)
    oracle.fit(scaler.transform(rows(train, mean)), train.labels)
    found = fit("lda", train, shrinkage=shrinkage).decision_function(test.activations)
    np.testing.assert_allclose(
        found, oracle.decision_function(scaler.transform(rows(test, mean))), rtol=1e-4, atol=1e-4
    )


def test_lda_is_not_the_difference_of_means(planted):
    data = planted()
    directions = [fit(name, data).weights["projection"][:, 0] for name in ("lda", "difference_of_means")]
    cosine = np.dot(*directions) / np.prod([np.linalg.norm(direction) for direction in directions])
    assert cosine < 0.99


@pytest.mark.parametrize(
    ("name", "reduce", "intercept"), [("mean_logistic", mean, False), ("mean", mean, True), ("last", last, True)]
)
@pytest.mark.parametrize("strength", [1e-3, 1.0])
def test_logistic_families_are_scikit_learns_regression_on_standardised_vectors(
    planted, name, reduce, intercept, strength
):
    train, test = planted(seed=1), planted(seed=2)
    oracle = make_pipeline(
        StandardScaler(), LogisticRegression(C=strength, fit_intercept=intercept, tol=1e-10, max_iter=10_000)
    )
    oracle.fit(rows(train, reduce), train.labels)
    found = fit(name, train, inverse_regularisation=strength).decision_function(test.activations)
    np.testing.assert_allclose(found, oracle.decision_function(rows(test, reduce)), rtol=1e-3, atol=1e-3)


def test_difference_of_means_is_its_formula(planted):
    train, test = planted(seed=1), planted(seed=2)
    high, low = rows(train, mean)[train.labels].mean(axis=0), rows(train, mean)[~train.labels].mean(axis=0)
    expected = rows(test, mean) @ (high - low) - (high - low) @ (high + low) / 2
    found = fit("difference_of_means", train).decision_function(test.activations)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_a_constant_feature_is_harmless(planted, ragged):
    data = planted()
    values = data.activations.values.copy()
    values[:, 0] = 1e4
    parts = np.split(values, data.activations.offsets[1:-1])
    constant = TrainingData(ragged(parts), data.labels, data.groups)
    for name in ("mean_logistic", "lda", "difference_of_means"):
        assert np.abs(fit(name, constant).decision_function(constant.activations)).max() < 1e3


def logistic(strength):
    return LogisticRegression(C=strength, fit_intercept=False, tol=1e-6, max_iter=1000)


def discriminant(shrinkage):
    return LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage)


@pytest.mark.parametrize(
    ("name", "setting", "oracle", "candidates"),
    [
        ("mean_logistic", "inverse_regularisation", logistic, (1e-4, 1e-2, 1e2)),
        ("lda", "shrinkage", discriminant, (0.0, 0.4, 0.99)),
    ],
)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_cross_validation_chooses_as_scikit_learn_does_on_the_same_folds(
    planted, name, setting, oracle, candidates, seed
):
    data = planted(records=60, hidden=50, strength=0.3, seed=seed)
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
    found = [
        cross_val_score(
            make_pipeline(StandardScaler(), oracle(candidate)),
            rows(data, mean),
            data.labels,
            groups=data.groups,
            cv=folds,
            scoring="roc_auc",
        ).mean()
        for candidate in candidates
    ]
    chosen = fit(name, data, candidates=candidates, seed=seed)
    best = fit(name, data, **{setting: candidates[int(np.argmax(found))]})
    np.testing.assert_array_equal(chosen.weights["projection"], best.weights["projection"])


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("mean_logistic", {}),
        ("mean", {"inverse_regularisation": 1.0}),
        ("last", {}),
        ("lda", {"shrinkage": 0.3}),
        ("difference_of_means", {}),
        ("difference_of_means", {"standardise": True}),
    ],
)
def test_a_weight_of_two_is_the_record_twice(planted, name, settings):
    data = planted(records=40, hidden=8)
    count = np.random.default_rng(0).integers(1, 4, size=40)
    weighted = replace(data, weights=count.astype(np.float64))
    repeated = data.only(np.arange(40).repeat(count))
    found, expected = (fit(name, one, **settings).decision_function(data.activations) for one in (weighted, repeated))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_a_shrinkage_that_is_estimated_cannot_weigh_records(planted):
    with pytest.raises(UserError, match="`shrinkage: auto` of lda cannot weigh records"):
        fit("lda", replace(planted(), weights=np.ones(120)), shrinkage="auto")


def test_cross_validation_never_divides_a_group(planted, monkeypatch):
    seen = []
    split = StratifiedGroupKFold.split

    def watched(self, X, y, groups):
        for train, test in split(self, X, y, groups):
            seen.append({groups[row] for row in train} & {groups[row] for row in test})
            yield train, test

    monkeypatch.setattr(StratifiedGroupKFold, "split", watched)
    fit("mean_logistic", planted(), candidates=(1e-3, 1e-2))
    assert seen == [set()] * 5


@pytest.mark.parametrize("name", ["mean_logistic", "last"])
def test_cross_validation_of_too_few_groups_is_refused(name, planted):
    with pytest.raises(UserError, match="6 records in 3 groups are too few"):
        fit(name, planted(records=6), candidates=(1e-3, 1e-2))
