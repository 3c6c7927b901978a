"""Reviews of commits whose scores are out of reach: the intervals in git speak."""

from dataclasses import replace

import pytest
from snapshots import known

from models_under_pressure.evaluation.comparison import Verdict
from models_under_pressure.review.compare import review
from models_under_pressure.review.render import to_json, to_markdown


@pytest.mark.parametrize(
    ("auroc", "verdict"),
    [(0.9, Verdict.BETTER), (0.7, Verdict.WORSE), (0.82, Verdict.NOISE), (0.8, Verdict.UNCHANGED)],
)
def test_intervals_in_git_give_an_unpaired_verdict(silent, auroc, verdict):
    after = replace(silent, metrics={"mt_dev": {"mean": known(auroc)}})
    found = review(silent, after)
    (row,) = found.rows
    assert (row.verdict, row.paired) == (verdict, False)
    assert found.worse is (verdict is Verdict.WORSE)
    assert row.difference.high - row.difference.low == pytest.approx(2 * 0.03 * 2**0.5)


def test_equal_intervals_of_other_contents_are_not_unchanged(silent):
    (row,) = review(silent, replace(silent, contents={"mt_dev": "c2"})).rows
    assert (row.verdict, row.reason) == (Verdict.NOT_COMPARABLE, "its file changed and is out of reach")


def test_intervals_of_other_numbers_of_records_are_not_comparable(silent):
    after = replace(silent, contents={}, files={}, metrics={"mt_dev": {"mean": known(0.9) | {"n": 220}}})
    (row,) = review(silent, after).rows
    assert (row.verdict, row.reason) == (Verdict.NOT_COMPARABLE, "of 200 and 220 records")


def test_a_dataset_of_one_class_has_nothing_to_compare(silent):
    one_class = {"mt_dev": {"mean": {"n": 200, "positives": 0, "accuracy": 0.9}}}
    after = {"mt_dev": {"mean": {"n": 200, "positives": 0, "accuracy": 0.8}}}
    (row,) = review(replace(silent, metrics=one_class), replace(silent, metrics=after)).rows
    assert (row.verdict, row.reason) == (Verdict.NOT_COMPARABLE, "one class only")


def rates(fpr, tpr=None):
    found = {f"fpr_at_stored_1pct{end}": value for end, value in zip(("", "_low", "_high"), fpr, strict=True)}
    if tpr:
        found |= {f"tpr_at_stored_1pct{end}": value for end, value in zip(("", "_low", "_high"), tpr, strict=True)}
    return found


def test_rates_at_the_stored_threshold_are_judged_also_of_one_class_and_fail_no_gate(silent):
    one, two = rates((0.01, 0.005, 0.02)), rates((0.1, 0.08, 0.12))
    before, after = (
        replace(silent, metrics=silent.metrics | {"ours": {"mean": {"n": 600, "positives": 0} | own}})
        for own in (one, two)
    )
    found = review(before, after)
    assert [(row.dataset, row.rate, row.verdict) for row in found.rates] == [("ours", "fpr", Verdict.WORSE)]
    assert "ours" not in {row.dataset for row in found.rows}, "it has no AUROC, and all there is to tell is told"
    assert not found.worse
    drawn = to_markdown(found)
    assert "### At the stored thresholds" in drawn
    assert "| `ours` | `mean` | FPR for 1 % | 0.010 | 0.100 | +0.090" in drawn
    assert to_json(found)["rates"][0]["verdict"] == "worse"
    assert review(after, after).rates[0].verdict is Verdict.UNCHANGED
    assert [row.verdict for row in review(after, before).rates] == [Verdict.BETTER]
    assert review(silent, after).rates == [], "what came or went is told once, with AUROC"


def test_holm_counts_paired_and_unpaired_rows_of_a_probe_together(silent):
    names = ["mt_dev", *(f"d{number}" for number in range(9))]
    before = {name: {"mean": known(0.8)} for name in names}
    after = {name: {"mean": known(0.86 if name == "mt_dev" else 0.8)} for name in names}
    one = dict([*after.items()][:1])
    alone = review(replace(silent, metrics={"mt_dev": before["mt_dev"]}), replace(silent, metrics=one))
    together = review(replace(silent, metrics=before), replace(silent, metrics=after))
    assert [row.verdict for row in alone.rows] == [Verdict.BETTER]
    (row,) = [row for row in together.rows if row.dataset == "mt_dev"]
    assert row.verdict is Verdict.NOISE
    assert row.adjusted_p == pytest.approx(min(1.0, 10 * alone.rows[0].adjusted_p))


def test_the_mean_of_unpaired_changes_is_marked(silent):
    purposes = {"mt_dev": "dev", "mts_dev": "dev"}
    before = replace(silent, purposes=purposes, metrics={name: {"mean": known(0.8)} for name in purposes})
    after = replace(before, metrics={name: {"mean": known(0.7)} for name in purposes})
    (mean,) = review(before, after).means
    assert (mean.verdict, mean.paired) == (Verdict.WORSE, False)
    assert to_markdown(review(before, after)).count("worse (unpaired)") == 3
