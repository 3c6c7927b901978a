"""The choice of a layer."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from models_under_pressure.core.errors import UserError
from models_under_pressure.experiments.choose_layer import pick
from models_under_pressure.experiments.choose_layer import run as score_layers
from models_under_pressure.experiments.shared.sets import take
from models_under_pressure.probes.families import FAMILIES
from models_under_pressure.probes.logistic import grouped_folds
from models_under_pressure.probes.training import fit_probe

PROBE = FAMILIES["mean_logistic"].config()


@pytest.fixture(scope="module")
def layers(make_set):
    return {2: make_set(strength=0.05), 7: make_set(strength=0.6), 5: make_set(strength=0.3)}


def test_the_layer_with_the_planted_signal_is_chosen(layers):
    rows = score_layers(layers, PROBE, folds=4, seed=0)
    assert [row["layer"] for row in rows] == [2, 5, 7]
    assert pick(rows, "best") == 7
    assert all(row["auroc_low"] < row["auroc"] < row["auroc_high"] for row in rows)


def test_each_fold_is_scored_by_a_probe_that_never_saw_its_groups(layers):
    (row,) = score_layers({5: layers[5]}, PROBE, folds=4, seed=3)
    one = layers[5]
    expected = []
    for train, test in grouped_folds(one.data.labels, one.data.groups, 4, 3):
        probe = fit_probe(PROBE, take(one, train).data, None, seed=3)
        held_out = take(one, test).data
        expected.append(roc_auc_score(held_out.labels, probe.decision_function(held_out.activations)))
    assert row["auroc_of_each"] == pytest.approx(expected, abs=1e-4)


def test_folds_keep_groups_whole_and_cover_every_record_once(make_set):
    one = make_set(records=50)
    splits = grouped_folds(one.data.labels, one.data.groups, 5, 0)
    assert sorted(np.concatenate([test for _, test in splits])) == list(range(50))
    groups = np.array(one.data.groups)
    for train, test in splits:
        assert not set(groups[train]) & set(groups[test])
        assert sorted([*train, *test]) == list(range(50))


def test_one_standard_error_takes_the_lowest_layer_that_is_as_good():
    def row(layer, folds):
        return {"layer": layer, "auroc": float(np.mean(folds)), "auroc_of_each": folds}

    rows = [row(3, [0.5, 0.6]), row(9, [0.80, 0.84]), row(12, [0.79, 0.87]), row(20, [0.83, 0.83])]
    assert pick(rows, "best") == 12  # as good as 20, and lower
    assert pick(rows, "one_standard_error") == 9  # 0.82 >= 0.83 - 0.04


def test_layers_of_different_records_are_refused(make_set):
    with pytest.raises(UserError, match="layer 4 holds other records"):
        score_layers({3: make_set(), 4: make_set("other")}, PROBE, folds=2, seed=0)


def test_too_few_groups_for_the_folds_are_refused(make_set):
    with pytest.raises(UserError, match="6 records in 3 groups are too few"):
        score_layers({3: make_set(records=6)}, PROBE, folds=5, seed=0)
