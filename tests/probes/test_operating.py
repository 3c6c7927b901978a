"""Thresholds of a probe from ordinary traffic."""

from dataclasses import replace

import numpy as np
import pytest

from models_under_pressure.core.errors import UserError
from models_under_pressure.probes.calibration import CONTROL_BUDGETS
from models_under_pressure.probes.data import TrainingData
from models_under_pressure.probes.families import FAMILIES
from models_under_pressure.probes.operating import with_control
from models_under_pressure.probes.probe import Probe

CONFIG = FAMILIES["mean"].config(budgets=(0.2,))
PROBE = Probe(CONFIG, {"projection": np.array([[1.0], [0.0]]), "bias": np.array([0.0])})
"""Its logit of a record of one token is the first number of that token."""


def data(ragged, logits, labels, groups=None):
    activations = ragged([np.array([[logit, 7.0]]) for logit in logits], attributes={})
    return TrainingData(activations, np.array(labels), groups or [f"g{n}" for n in range(len(logits))])


def test_the_threshold_stands_above_the_conversations_of_every_control_set_and_groups_count_once_by_their_worst(ragged):
    first = data(ragged, range(20), [False] * 20)
    second = data(ragged, [50, 60, 70, 30], [False] * 4, ["a", "a", "a", "b"])
    validation = data(ragged, [65, 71, 80, 90, 99], [True, True, True, True, False])
    found = with_control(PROBE, [first, second], validation)
    assert (found.weights, found.config) == (PROBE.weights, PROBE.config)
    assert [row.budget for row in found.thresholds] == sorted([*CONTROL_BUDGETS, 0.2])
    row = found.thresholds[-1]
    # Of 22 draws the highest two may pass at 20 %: Binomial(22, 0.2) is at most 1 with a chance of 0.048.
    assert row.logit == pytest.approx(30, rel=1e-5)
    assert row.logit > 30
    assert (row.fpr, row.negatives) == (1 / 22, 22)
    assert (row.tpr, row.positives) == (1.0, 4)
    assert all(one.logit is None and one.refused.endswith("conversations, has 22") for one in found.thresholds[:-1])


def test_true_positive_rates_are_of_the_high_stakes_records_of_the_validation_split(ragged):
    control = data(ragged, range(50), [False] * 50)
    validation = data(ragged, [0, 100, 200, 300], [True, True, False, False])
    assert with_control(PROBE, [control], validation).thresholds[-1].tpr == 0.5


def test_a_control_set_that_is_not_all_low_stakes_is_refused_with_the_number_of_rows(ragged):
    clean, validation = data(ragged, range(3), [False] * 3), data(ragged, [1, 2], [True, False])
    two_high = data(ragged, range(3), [True, False, True])
    for control, count in (
        ([two_high], 2),
        ([clean, replace(two_high, ambiguous=4)], 6),
        ([replace(clean, ambiguous=1)], 1),
    ):
        with pytest.raises(UserError) as caught:
            with_control(PROBE, control, validation)
        assert str(caught.value) == (
            f"{count} control records are not low-stakes. "
            "Remedy: a control set is ordinary traffic: take these rows out."
        )
