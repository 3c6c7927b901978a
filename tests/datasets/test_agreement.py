import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score
from stakes import LABELLER

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.records import Label, Record
from models_under_pressure.datasets.agreement import agreement, previous_labelling, to_json, to_markdown
from models_under_pressure.datasets.labelling import Thresholds, label_records, to_label
from models_under_pressure.llm.ask import Answer

score = st.integers(1, 10)


def labelled(scores):
    return [
        Record(str(n), "x", label=to_label(rating=s, confidence=9, thresholds=Thresholds()), scale_label=s)
        for n, s in enumerate(scores)
    ]


@given(st.lists(st.tuples(score, score), min_size=2, max_size=60))
def test_kappa_is_that_of_scikit_learn(pairs):
    first, second = labelled([a for a, _ in pairs]), labelled([b for _, b in pairs])
    found = agreement(first, second, seed=1)
    labels = [[record.label for record in side] for side in (first, second)]
    if len({*labels[0], *labels[1]}) > 1:
        assert found.kappa.value == pytest.approx(cohen_kappa_score(*labels), nan_ok=True)
    else:
        assert found.kappa is None
    if len({s for pair in pairs for s in pair}) > 1:
        expected = cohen_kappa_score(*zip(*pairs, strict=True), labels=list(range(1, 11)), weights="quadratic")
        assert found.weighted_kappa.value == pytest.approx(expected)


def test_a_replicate_of_the_bootstrap_is_the_same_formula():
    from models_under_pressure.datasets.agreement import _kappas

    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 10, (2, 80))
    table = np.zeros((1, 10, 10))
    np.add.at(table[0], (first, second), 1)
    for quadratic in (False, True):
        expected = cohen_kappa_score(first, second, weights="quadratic" if quadratic else None)
        assert _kappas(table, quadratic=quadratic)[0] == pytest.approx(expected)


def test_flips_are_counted_by_where_they_come_from_and_go_to():
    found = agreement(labelled([1, 2, 9, 5]), labelled([9, 2, 2, 5]), seed=0)
    assert found.flips["low-stakes"] == {"low-stakes": 1, "high-stakes": 1, "ambiguous": 0}
    assert found.flips["high-stakes"] == {"low-stakes": 1, "high-stakes": 0, "ambiguous": 0}
    assert found.same_label.value == 0.5
    assert sum(sum(row.values()) for row in found.flips.values()) == found.rows == 4


def test_equal_labellings_agree_fully_and_the_interval_holds_the_estimate():
    rows = labelled([1, 9, 5, 2] * 10)
    found = agreement(rows, rows, seed=0)
    assert found.kappa.value == found.weighted_kappa.value == 1
    other = agreement(rows, labelled([1, 8, 6, 9] * 10), seed=0)
    for one in (other.same_label, other.kappa, other.weighted_kappa):
        assert one.low <= one.value <= one.high


def test_rows_of_one_group_are_drawn_together_so_that_pairs_do_not_count_twice():
    scores = [1, 9, 2, 8, 1, 9, 5, 1] * 4
    first, second = labelled(scores), labelled([*scores[:20], *([9] * 12)])
    alone = agreement(first, second, seed=0)
    paired = [Record(f"{r.id}b", r.input, r.label, r.scale_label, fields={"group": r.id}) for r in (*first, *second)]
    twice = agreement([*first, *paired[:32]], [*second, *paired[32:]], seed=0)
    assert twice.kappa.value == pytest.approx(alone.kappa.value)
    assert twice.kappa.high - twice.kappa.low == pytest.approx(alone.kappa.high - alone.kappa.low, abs=0.06)


def test_a_relabelled_file_is_compared_with_the_labels_it_had():
    def ask(asks):
        return [Answer(one.reply(explanation="e", stakes=9, confidence=9), "m") for one in asks]

    before = labelled([1, 9, 5])
    after = label_records(before, how=LABELLER, ask=ask).records
    found = agreement(previous_labelling(after), after, seed=0)
    assert found.flips == agreement(before, after, seed=0).flips
    assert found.rows == 3


def test_labellings_of_different_rows_are_an_error_and_partial_ones_are_counted():
    with pytest.raises(UserError, match="no row has a label in both"):
        agreement(labelled([1]), [Record("z", "x", label=Label.LOW)], seed=0)
    assert agreement(labelled([1, 9, 2]), labelled([1, 9]), seed=0).unmatched == 1


def test_the_report_names_what_is_not_defined():
    found = agreement(labelled([1, 1]), labelled([1, 2]), seed=0)
    assert to_json(found)["kappa"] is None
    assert "Cohen's kappa of the labels | not defined" in to_markdown(found)
