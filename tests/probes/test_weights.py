"""Training records that count more than others."""

import json
from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError
from small_store import small_store

from models_under_pressure.core.concept import Classes
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.records import Label, Record
from models_under_pressure.probes.data import TrainingData, labelled_activations
from models_under_pressure.probes.families import FAMILIES
from models_under_pressure.probes.family import DescentConfig
from models_under_pressure.probes.training import continue_probe, fit_probe
from models_under_pressure.probes.weights import RecordWeights, spoken_weights

LABELS = np.array([True, False, False, False])
RECORDS = [
    Record(str(number), "text", Label.HIGH if label else Label.LOW, fields=fields)
    for number, (label, fields) in enumerate(
        zip(LABELS, [{"source": "forum"}, {"source": "forum"}, {"source": "mail", "year": 2024}, {}], strict=True)
    )
]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, None),
        ({"by": {"source": {"forum": 1.0}}}, None),
        ({"by": {"source": {"forum": 3.0}}}, [3, 3, 1, 1]),
        ({"by": {"source": {"forum": 3.0, "mail": 0.5}, "year": {"2024": 4.0}}}, [3, 3, 2, 1]),
        ({"balance": True}, [3, 1, 1, 1]),
        ({"balance": True, "positive": 2.0}, [6, 1, 1, 1]),
        ({"balance": True, "by": {"source": {"forum": 2.0}}}, [4, 2, 1, 1]),
    ],
)
def test_weights_are_by_column_and_class_and_one_in_the_mean(settings, expected):
    found = RecordWeights(**settings).of(RECORDS, LABELS)
    if expected is None:
        assert found is None
    else:
        np.testing.assert_allclose(found, np.array(expected) / np.mean(expected))


@pytest.mark.parametrize(
    ("by", "told"),
    [
        ({"origin": {"x": 2.0}}, "they have no such column"),
        ({"source": {"fourm": 2.0}}, "the column holds 'forum', 'mail'"),
    ],
)
def test_a_column_or_value_that_no_record_has_is_one_line(by, told):
    ((column, values),) = by.items()
    with pytest.raises(UserError) as caught:
        RecordWeights(by=by).of(RECORDS, LABELS)
    assert str(caught.value) == (
        f"no training record has {column} {next(iter(values))!r}: {told}. "
        "Remedy: correct `train.weights.by` (or --weight)."
    )


def test_of_many_values_that_a_column_holds_the_first_eight_are_named():
    records = [Record(str(number), "text", fields={"n": number % 10}) for number in range(12)]
    with pytest.raises(UserError, match="the column holds '0', '1', '2', '3', '4', '5', '6', '7'. Remedy"):
        RecordWeights(by={"n": {"11": 2.0}}).of(records, np.arange(12) < 6)


def test_weights_are_spoken_as_column_value_and_number():
    found = spoken_weights(["source:forum=2", "source:a=b:c=0.5", "year:2024=3"], balance=True)
    assert found == RecordWeights(by={"source": {"forum": 2.0, "a=b:c": 0.5}, "year": {"2024": 3.0}}, balance=True)
    assert spoken_weights([], balance=False) == RecordWeights()


@pytest.mark.parametrize("text", ["source", "source=2", ":forum=2", "source:=2", "source:forum=", "source:forum"])
def test_what_is_no_weight_is_refused_with_the_form_of_one(text):
    with pytest.raises(UserError) as caught:
        spoken_weights([text], balance=False)
    assert str(caught.value) == (
        f"--weight: {text!r} is no weight. Remedy: write COLUMN:VALUE=NUMBER, such as source:forum=2."
    )


@pytest.mark.parametrize("number", ["0", "-1", "many", "nan"])
def test_a_spoken_weight_is_a_number_above_zero(number):
    with pytest.raises(UserError, match="by.source.forum"):
        spoken_weights([f"source:forum={number}"], balance=False)


@pytest.mark.parametrize("weight", [0.0, -1.0, float("inf")])
def test_a_weight_is_a_number_above_zero(weight):
    with pytest.raises(ValidationError):
        RecordWeights(by={"source": {"forum": weight}})


@pytest.mark.parametrize("family", ["mean", "last", "max"])
def test_weights_change_the_probe_and_the_hash_of_its_training_data(family, planted):
    short = {"epochs": 2} if family == "max" else {}
    data, config = planted(records=20), FAMILIES[family].config(**short)
    weighted = replace(data, weights=np.where(np.arange(20) < 10, 0.5, 1.5))
    plain, found = (fit_probe(config, one, None, seed=0) for one in (data, weighted))
    assert found.provenance["training_data_hash"] != plain.provenance["training_data_hash"]
    assert not np.allclose(found.weights["projection"], plain.weights["projection"])


def test_labels_of_a_file_are_put_to_the_activations_of_a_store_with_their_weights(tmp_path):
    words, path = Classes(positive="rude", negative="kind"), tmp_path / "own.jsonl"
    rows = [{"ids": "b", "labels": "rude", "source": "forum"}, {"ids": "a", "labels": "kind", "source": "mail"}]
    path.write_text("".join(json.dumps(row | {"inputs": "text"}) + "\n" for row in rows))
    store = small_store(tmp_path / "a.zarr", 5)
    data, kept = labelled_activations(store, path, words)
    assert ([record.id for record in kept], data.labels.tolist(), data.weights) == (["a", "b"], [False, True], None)
    data, _ = labelled_activations(store, path, words, RecordWeights(by={"source": {"forum": 3}}))
    assert data.weights.tolist() == [0.5, 1.5]


def test_weights_count_in_each_step_of_descent(planted):
    data = planted(records=20, hidden=4)
    weighted = replace(data, weights=np.where(np.arange(20) < 10, 0.5, 1.5))
    start, once = fit_probe(FAMILIES["mean"].config(), data, None, seed=0), DescentConfig(family="mean", epochs=1)
    plain, found = (continue_probe(start, one, None, settings=once) for one in (data, weighted))
    losses = np.logaddexp(0, np.where(data.labels, -1, 1) * start.decision_function(data.activations))
    assert plain.history[0]["train_loss"] == pytest.approx(losses.mean(), rel=1e-4)
    assert found.history[0]["train_loss"] == pytest.approx((losses * weighted.weights).mean(), rel=1e-4)


def test_weights_go_with_their_records_and_must_be_one_for_each(planted):
    data = replace(planted(records=4), weights=np.array([1.0, 2.0, 3.0, 4.0]))
    assert data.only(np.array([3, 1])).weights.tolist() == [4.0, 2.0]
    for wrong in (np.ones(3), np.array([1.0, 0.0, 1.0, 1.0])):
        with pytest.raises(ValueError, match="not one number above 0 for each record"):
            TrainingData(data.activations, data.labels, data.groups, weights=wrong)
