"""The comparison of probe families."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from models_under_pressure.experiments.compare_probes import CompareProbes
from models_under_pressure.experiments.compare_probes import run as compare_probes
from models_under_pressure.experiments.shared.setting import Setting
from models_under_pressure.probes.families import FAMILIES
from models_under_pressure.probes.training import fit_probe

PROBES = {
    "attention": FAMILIES["attention"].config(epochs=4),
    "mean_logistic": FAMILIES["mean_logistic"].config(),
}
CONFIG = CompareProbes(seeds=3, probes=PROBES)


@pytest.fixture(scope="module")
def setting(make_set):
    return Setting(
        make_set(),
        make_set("validation", purpose="validation", seed=1),
        [
            make_set("a_dev", purpose="dev", seed=2, turn=0.8),
            make_set("a_test", purpose="test", seed=3, turn=0.8),
            make_set("b_test", purpose="test", seed=4, records=40),
        ],
    )


def test_every_probe_has_a_row_for_every_dataset_and_a_mean_for_every_purpose(setting):
    rows = compare_probes(CONFIG, setting)
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


def test_an_ensemble_is_one_method_of_its_own_number_of_seeds(setting):
    together = FAMILIES["attention"].config(epochs=4, seeds=2, ensemble=True)
    row, *_ = compare_probes(CompareProbes(seeds=3, probes={"both": together}), setting)
    tested, alone = setting.tested[0].data, []
    for seed in (setting.seed, setting.seed + 1):
        probe = fit_probe(PROBES["attention"], setting.train.data, setting.validation.data, seed=seed)
        alone.append(probe.decision_function(tested.activations))
    expected = roc_auc_score(tested.labels, np.mean(alone, axis=0))
    assert (row["seeds"], row["auroc_of_each"]) == (2, [pytest.approx(expected, abs=1e-4)])


def test_a_row_averages_the_seeds_that_are_fitted_one_by_one(setting):
    train, validation, tested = setting.train, setting.validation, setting.tested
    row = next(row for row in compare_probes(CONFIG, replace(setting, seed=5)) if row["probe"] == "attention")
    alone = []
    for seed in (5, 6, 7):
        probe = fit_probe(PROBES["attention"], train.data, validation.data, seed=seed)
        alone.append(roc_auc_score(tested[0].data.labels, probe.decision_function(tested[0].data.activations)))
    assert row["auroc_of_each"] == pytest.approx(alone, abs=1e-4)
    assert row["auroc"] == pytest.approx(np.mean(alone), abs=1e-4)
