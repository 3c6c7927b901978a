"""The scikit-learn face of probes."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sklearn.utils.estimator_checks import check_estimator

from models_under_pressure.probes.estimator import ProbeClassifier
from models_under_pressure.probes.families import FAMILIES
from models_under_pressure.probes.training import fit_probe


def config(name):
    found = FAMILIES[name].config()
    return found.model_copy(update={"epochs": 20}) if hasattr(found, "epochs") else found


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [name for name in FAMILIES if not FAMILIES[name].by_sentence])
def test_every_family_passes_scikit_learns_checks(name):
    results = check_estimator(ProbeClassifier(config(name)), on_fail=None)
    assert [(found["check_name"], found["exception"]) for found in results if found["status"] == "failed"] == []
    assert sum(found["status"] == "passed" for found in results) > 50


def test_ragged_activations_are_fitted_as_by_fit_probe(planted):
    data = planted()
    names = np.where(data.labels, "risky", "calm")
    estimator = ProbeClassifier(seed=3).fit(data.activations, names)
    probe = fit_probe(FAMILIES["mean_logistic"].config(), data, None, seed=3)
    np.testing.assert_array_equal(
        estimator.decision_function(data.activations), probe.decision_function(data.activations)
    )
    np.testing.assert_array_equal(estimator.score_tokens(data.activations), probe.score_tokens(data.activations))
    np.testing.assert_array_equal(
        estimator.predict_proba(data.activations)[:, 1], probe.predict_proba(data.activations)
    )
    assert (estimator.predict(data.activations) == names).mean() > 0.9


def test_it_works_in_scikit_learns_cross_validation():
    generator = np.random.default_rng(0)
    labels = np.arange(100) % 2
    values = generator.normal(size=(100, 5)) + labels[:, None]
    found = cross_val_score(ProbeClassifier(config("lda")), values, labels, scoring="roc_auc")
    assert found.mean() > 0.9


def test_it_clones_with_its_config():
    original = ProbeClassifier(config("attention"), seed=4)
    assert clone(original).get_params() == original.get_params()


def test_groups_reach_the_familys_own_cross_validation(planted):
    data = planted()
    estimator = ProbeClassifier(FAMILIES["mean_logistic"].config(candidates=(1e-4, 1e-2)), seed=0)
    estimator.fit(data.activations, data.labels, groups=data.groups)
    expected = fit_probe(FAMILIES["mean_logistic"].config(candidates=(1e-4, 1e-2)), data, None, seed=0)
    np.testing.assert_array_equal(estimator.probe_.weights["projection"], expected.weights["projection"])
