"""The comparison of probe families."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from models_under_pressure.core.errors import UserError
from models_under_pressure.experiments.compare_probes import CompareProbes
from models_under_pressure.experiments.compare_probes import run as compare_probes
from models_under_pressure.probes.families import FAMILIES
from models_under_pressure.probes.training import fit_probe

PROBES = {
    "attention": FAMILIES["attention"].config(epochs=4),
    "mean_logistic": FAMILIES["mean_logistic"].config(),
}
CONFIG = CompareProbes(seeds=3, probes=PROBES)


@pytest.fixture(scope="module")
def sets(make_set):
    return (
        make_set(),
        make_set("validation", purpose="validation", seed=1),
        [
            make_set("a_dev", purpose="dev", seed=2, turn=0.8),
            make_set("a_test", purpose="test", seed=3, turn=0.8),
            make_set("b_test", purpose="test", seed=4, records=40),
        ],
    )


def test_every_probe_has_a_row_for_every_dataset_and_a_mean_for_every_purpose(sets):
    rows = compare_probes(CONFIG, *sets, seed=0)
    assert [(row["dataset"], row["probe"]) for row in rows] == [
        *((name, probe) for name in ("a_dev", "a_test", "b_test") for probe in PROBES),
        *(("mean", probe) for _ in ("dev", "test") for probe in PROBES),
    ]
    for row in rows:
        assert row["auroc_low"] < row["auroc"] < row["auroc_high"]
    tests = [row for row in rows if row["purpose"] == "test" and row["probe"] == "attention"]
    assert tests[-1]["auroc"] == pytest.approx(np.mean([row["auroc"] for row in tests[:-1]]), abs=1e-4)
    assert tests[-1]["datasets"] == 2
    assert tests[-1]["n"] == 100


def test_a_row_averages_the_seeds_that_are_fitted_one_by_one(sets):
    train, validation, tested = sets
    row = next(row for row in compare_probes(CONFIG, *sets, seed=5) if row["probe"] == "attention")
    alone = []
    for seed in (5, 6, 7):
        probe = fit_probe(PROBES["attention"], train.data, validation.data, seed=seed)
        alone.append(roc_auc_score(tested[0].data.labels, probe.decision_function(tested[0].data.activations)))
    assert row["auroc_of_each"] == pytest.approx(alone, abs=1e-4)
    assert row["auroc"] == pytest.approx(np.mean(alone), abs=1e-4)


def test_no_tested_row_may_be_trained_on(sets, make_set):
    train, validation, _ = sets
    leaked = make_set(purpose="test")
    with pytest.raises(UserError, match="which is tested on"):
        compare_probes(CONFIG, train, validation, [leaked], seed=0)
