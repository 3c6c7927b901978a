"""Mean AUROC over seeds, with an interval that knows records and seeds."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from models_under_pressure.evaluation.differences import averaged_auroc

GENERATOR = np.random.default_rng(0)
LABELS = np.arange(200) % 2 == 0
SCORES = GENERATOR.normal(size=200) + 1.2 * LABELS


def test_seeds_that_agree_add_nothing():
    one, three = averaged_auroc([SCORES], LABELS), averaged_auroc([SCORES] * 3, LABELS)
    assert (three.value, three.low, three.high) == pytest.approx((one.value, one.low, one.high))


def test_the_value_is_the_mean_and_seeds_that_differ_widen_the_interval():
    seeds = [SCORES + GENERATOR.normal(size=200) * noise for noise in (0.0, 1.5, 4.0)]
    found = averaged_auroc(seeds, LABELS)
    assert found.value == pytest.approx(np.mean([roc_auc_score(LABELS, scores) for scores in seeds]))
    same = averaged_auroc([seeds[1]] * 3, LABELS)
    assert found.high - found.low > same.high - same.low
