"""Thresholds of a probe from ordinary traffic, in place of those of its validation split."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from models_under_pressure.core.errors import UserError
from models_under_pressure.evaluation.operating_points import highest_of_groups
from models_under_pressure.probes.calibration import control_table
from models_under_pressure.probes.data import TrainingData
from models_under_pressure.probes.probe import Probe


def with_control(probe: Probe, control: Sequence[TrainingData], validation: TrainingData) -> Probe:
    """The probe with thresholds that a control set promises; `refused` says so where it is too small for a budget.

    Args:
        probe: a fitted probe.
        control: ordinary traffic that had no part in the fitting, all of the negative class.
        validation: labelled records, whose high-stakes ones give the true positive rates.

    Raises:
        UserError: a control record is high-stakes, or the activations are not those that the probe reads.
    """
    for one in control:
        if one.labels.any() or one.ambiguous:
            problem = f"{int(one.labels.sum()) + one.ambiguous} control records are not low-stakes."
            raise UserError(problem, remedy="a control set is ordinary traffic: take these rows out.")
    highest = [highest_of_groups(probe.decision_function(one.activations), one.groups) for one in control]
    positives = probe.decision_function(validation.activations)[validation.labels]
    return replace(probe, thresholds=control_table(np.concatenate(highest), positives, probe.config.budgets))
