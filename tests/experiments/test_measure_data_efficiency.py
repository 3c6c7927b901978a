"""How results change with the number of training prompts."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from models_under_pressure.experiments.measure_data_efficiency import MeasureDataEfficiency
from models_under_pressure.experiments.measure_data_efficiency import run as measure_data_efficiency
from models_under_pressure.experiments.shared.samples import generator_of, nested_samples
from models_under_pressure.experiments.shared.sets import take
from models_under_pressure.experiments.shared.setting import Setting
from models_under_pressure.probes.families import FAMILIES
from models_under_pressure.probes.training import fit_probe

PROBES = {"mean_logistic": FAMILIES["mean_logistic"].config(), "softmax": FAMILIES["softmax"].config(epochs=3)}


def config(repeats):
    return MeasureDataEfficiency(sizes=(4, 16), repeats=repeats, probes=PROBES)


@pytest.fixture(scope="module")
def setting(make_set):
    return Setting(
        make_set(records=80, strength=0.4),
        make_set("validation", purpose="validation", seed=1),
        [make_set("a_dev", purpose="dev", seed=2), make_set("b_dev", purpose="dev", seed=3)],
    )


def test_every_method_and_size_has_a_row_per_dataset_and_the_whole_set_comes_on_top(setting):
    rows = measure_data_efficiency(config(repeats=2), setting)
    assert {(row["dataset"], row["method"], row["size"]) for row in rows} == {
        (dataset, method, size) for dataset in ("a_dev", "b_dev", "mean") for method in PROBES for size in (4, 16, 80)
    }
    means = {row["size"]: row["auroc"] for row in rows if row["dataset"] == "mean" and row["method"] == "mean_logistic"}
    assert means[80] > means[4]


def test_repeats_are_independent_of_each_other_and_of_the_other_sizes(setting):
    train, validation, tested = setting.train, setting.validation, setting.tested
    rows = measure_data_efficiency(config(repeats=3), replace(setting, seed=7))
    row = next(row for row in rows if (row["dataset"], row["method"], row["size"]) == ("a_dev", "softmax", 16))
    alone = []
    for repeat in range(3):
        chosen = nested_samples(train.data.labels, [16], generator_of(7, repeat, "train"))[16]
        probe = fit_probe(PROBES["softmax"], take(train, chosen).data, validation.data, seed=7 + repeat)
        alone.append(roc_auc_score(tested[0].data.labels, probe.decision_function(tested[0].data.activations)))
    assert row["auroc_of_each"] == pytest.approx(alone, abs=1e-4)
    assert row["auroc"] == pytest.approx(np.mean(alone), abs=1e-4)
