"""Words that tell the classes apart: found, counted by record, sure in the right order."""

import numpy as np
import pytest
from scipy.stats.contingency import odds_ratio

from models_under_pressure.core.records import Label, Record
from models_under_pressure.datasets.distribution import telling_words


def records(high, low):
    return [
        Record(f"{label.name}{number}", text, label)
        for label, texts in ((Label.HIGH, high), (Label.LOW, low))
        for number, text in enumerate(texts)
    ]


def test_a_planted_word_is_the_surest_and_common_words_tell_nothing():
    found = telling_words(records(["the fire"] * 20 + ["the end"] * 5, ["the cake"] * 20 + ["the end"] * 5))
    assert (found[0]["word"], found[-1]["word"]) == ("fire", "cake")
    assert found[0]["low"] > 0 > found[-1]["high"]
    assert "the" not in {row["word"] for row in found[:1] + found[-1:]}


def test_a_word_counts_once_in_a_record_whatever_its_case():
    (row,) = telling_words(records(["Fire FIRE fire"] * 6 + ["x y"], ["a b"] * 7), least_records=6)[:1]
    assert (row["word"], row["high_stakes"], row["n_high"], row["low_stakes"], row["n_low"]) == ("fire", 6, 7, 0, 7)


def test_the_log_odds_ratio_nears_that_of_scipy_on_many_records():
    found = telling_words(records(["fire"] * 3000 + ["cake"] * 7000, ["fire"] * 1000 + ["cake"] * 9000))
    expected = odds_ratio(np.array([[3000, 7000], [1000, 9000]]), kind="sample")
    assert found[0]["log_odds"] == pytest.approx(np.log(expected.statistic), abs=1e-3)
    ends = np.log(list(expected.confidence_interval()))
    assert [found[0]["low"], found[0]["high"]] == pytest.approx(ends, abs=2e-3)


def test_rare_words_are_left_out_and_so_is_everything_without_both_classes():
    assert telling_words(records(["fire"] * 4, ["cake"] * 4)) == []
    assert telling_words(records(["fire"] * 9, [])) == []


def test_ambiguous_records_count_for_neither_class():
    extra = [Record("x", "fire fire", Label.AMBIGUOUS)]
    some = records(["fire"] * 9, ["cake"] * 9)
    assert telling_words(some + extra) == telling_words(some)
