import json
from dataclasses import asdict, replace

import pytest

from models_under_pressure.core.records import Label, Record
from models_under_pressure.datasets.diff import diff, to_text
from models_under_pressure.datasets.files import Splits


def labelled(id_, label=Label.LOW, score=2, text="x", why="calm"):
    return Record(id_, text, label, score, 9, why, "m")


BEFORE = Splits(
    dev=[labelled("a"), labelled("b"), labelled("gone")],
    test=[labelled("m", Label.HIGH, 9), labelled("n", Label.AMBIGUOUS, 5)],
)
AFTER = Splits(
    dev=[labelled("a", text="rewritten"), labelled("b", Label.HIGH, 8, why="it is an <b>emergency</b>\n| now")],
    test=[labelled("n", Label.AMBIGUOUS, 6), labelled("new")],
)
MOVED = replace(AFTER, dev=[*AFTER.dev, labelled("m", Label.HIGH, 9)])
RESULT = diff(BEFORE, MOVED)


def test_rows_added_dropped_moved_and_rewritten_are_told_apart():
    assert (RESULT.added, RESULT.dropped, RESULT.rewritten) == (["new"], ["gone"], ["a"])
    assert RESULT.moved == [{"id": "m", "from": "test", "to": "dev"}]


def test_a_flip_has_both_scores_and_explanations():
    (flip,) = RESULT.flips
    assert flip["id"] == "b"
    assert flip["before"] == {"label": "low-stakes", "score": 2, "confidence": 9, "explanation": "calm"}
    assert (flip["after"]["label"], flip["after"]["score"]) == ("high-stakes", 8)


def test_the_drift_is_over_the_rows_that_both_versions_scored():
    assert RESULT.scored == 4
    assert RESULT.score_drift == pytest.approx(7 / 4)
    assert diff(Splits(dev=[Record("a", "x")]), Splits(dev=[Record("a", "x")])).score_drift is None


def test_the_class_balance_of_each_split_is_given():
    assert RESULT.labels["before"]["dev"] == {"low-stakes": 3, "high-stakes": 0, "ambiguous": 0}
    assert RESULT.labels["after"]["dev"] == {"low-stakes": 1, "high-stakes": 2, "ambiguous": 0}
    assert list(diff(Splits(test=BEFORE.test), Splits(test=AFTER.test)).labels["after"]) == ["test"]


def test_a_version_does_not_differ_from_itself():
    same = diff(BEFORE, BEFORE)
    assert not any((same.added, same.dropped, same.moved, same.rewritten, same.flips))
    assert same.score_drift == 0


def test_a_terminal_gets_no_control_characters_and_long_lists_are_counted():
    many = diff(Splits(), Splits(dev=[labelled(f"{n:03}\x1b[2J") for n in range(30)]))
    text = to_text(many, title="t", most=5)
    assert "\x1b" not in text
    assert "… and 25 more" in text
    assert text.splitlines()[1].startswith("added 30  dropped 0")


def test_json_lists_every_row():
    many = diff(Splits(), Splits(dev=[labelled(f"{n:03}") for n in range(30)]))
    assert len(json.loads(json.dumps(asdict(many)))["added"]) == 30
