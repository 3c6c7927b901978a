"""Training on samples of the dev sets."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from models_under_pressure.core.errors import UserError
from models_under_pressure.experiments.shared.samples import generator_of, nested_samples
from models_under_pressure.experiments.shared.sets import join, take
from models_under_pressure.experiments.shared.setting import Setting
from models_under_pressure.experiments.train_on_dev import TrainOnDev
from models_under_pressure.experiments.train_on_dev import run as train_on_dev
from models_under_pressure.probes.families import FAMILIES
from models_under_pressure.probes.training import continue_probe, fit_probe

PROBE = FAMILIES["attention"].config(epochs=3)
ALL = ("only", "combine", "fine_tune")
CONFIG = TrainOnDev(modes=ALL, sizes=(4, 16), repeats=3, copies=2, epochs=4, learning_rate=0.005, probe=PROBE)


@pytest.fixture(scope="module")
def setting(make_set):
    dev = [make_set(f"{name}_dev", purpose="dev", seed=seed, turn=1.2) for name, seed in (("a", 2), ("b", 3))]
    test = [make_set(f"{name}_test", seed=seed, turn=1.2) for name, seed in (("a", 12), ("b", 13))]
    return Setting(make_set(), make_set("validation", purpose="validation", seed=1), [*dev, *test], seed=5)


def of(rows, dataset, mode, size):
    return next(row for row in rows if (row["dataset"], row["mode"], row["size"]) == (dataset, mode, size))


@pytest.fixture(scope="module")
def rows(setting):
    return train_on_dev(CONFIG, setting)


def test_every_mode_and_size_has_a_row_per_test_set_and_a_mean(rows):
    assert {(row["dataset"], row["mode"], row["size"]) for row in rows} == {
        (dataset, mode, size)
        for dataset in ("a_test", "b_test", "mean")
        for mode, size in [("initial", 0), *((mode, size) for mode in ALL for size in (4, 16))]
    }
    mean = of(rows, "mean", "combine", 16)
    parts = [of(rows, name, "combine", 16)["auroc"] for name in ("a_test", "b_test")]
    assert mean["auroc"] == pytest.approx(np.mean(parts), abs=1e-4)


@pytest.mark.parametrize("mode", ALL)
def test_a_repeat_is_what_its_own_seed_and_samples_give_from_the_untouched_initial_probe(rows, setting, mode):
    train, validation, (dev, test) = setting.train, setting.validation, setting.pairs[1]
    expected = []
    for repeat in range(3):
        initial = fit_probe(PROBE, train.data, validation.data, seed=5 + repeat)
        samples = take(dev, nested_samples(dev.data.labels, [16], generator_of(5, repeat, dev.name))[16])
        if mode == "only":
            alone = FAMILIES["attention"].config(**CONFIG.on_samples.model_dump())
            probe = fit_probe(alone, samples.data, None, seed=5 + repeat)
        elif mode == "combine":
            probe = fit_probe(PROBE, join([train, samples, samples]).data, validation.data, seed=5 + repeat)
        else:
            probe = continue_probe(initial, samples.data, None, settings=CONFIG.on_samples)
        expected.append(roc_auc_score(test.data.labels, probe.decision_function(test.data.activations)))
    assert of(rows, "b_test", mode, 16)["auroc_of_each"] == pytest.approx(expected, abs=1e-4)


def test_no_size_mode_or_dataset_changes_what_another_gives(rows, setting):
    less = CONFIG.model_copy(update={"modes": ("fine_tune",), "sizes": (16,)})
    alone = train_on_dev(less, replace(setting, tested=setting.pairs[1]))
    assert of(alone, "b_test", "fine_tune", 16) == of(rows, "b_test", "fine_tune", 16)
    assert of(alone, "b_test", "initial", 0) == of(rows, "b_test", "initial", 0)


def test_samples_of_the_deployments_own_text_help_where_the_direction_has_turned(rows):
    assert of(rows, "mean", "fine_tune", 16)["auroc"] > of(rows, "mean", "initial", 0)["auroc"]


def test_no_test_row_is_ever_in_training(setting):
    dev = setting.tested[0]
    for tested in (dev, setting.train, setting.validation):
        with pytest.raises(UserError, match="which is tested on"):
            train_on_dev(CONFIG, replace(setting, tested=[dev, replace(tested, name="a_test")]))
