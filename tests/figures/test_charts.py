"""Every figure: what it shows, that it is self-contained, and that equal rows give equal bytes."""

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import auc, precision_recall_curve, roc_curve

from models_under_pressure.evaluation import metrics
from models_under_pressure.figures import NOTHING, ResultFigure, Results, declared
from models_under_pressure.figures.curves import MOST, corners
from models_under_pressure.figures.render import spec, write_chart

FIGURES = declared(ResultFigure)


def rows_of(name, results, **changes):
    return FIGURES[name].rows(replace(results, **changes))


def chart_of(name, results, **changes):
    changed = replace(results, **changes)
    return FIGURES[name].chart(FIGURES[name].rows(changed), changed)


@pytest.fixture(scope="module")
def charts(results):
    return {name: chart_of(name, results) for name in FIGURES}


@pytest.fixture(scope="module")
def specs(charts):
    """Each takes a tenth of a second to make."""
    return {name: spec(chart) for name, chart in charts.items()}


def values(node):
    """Every string and number of a JSON tree with its key."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield key, value
            yield from values(value)
    elif isinstance(node, list):
        for value in node:
            yield from values(value)


def test_every_figure_is_self_contained_and_refers_to_no_network(specs):
    for name, found in specs.items():
        keys = [key for key, _ in values(found)]
        assert "url" not in keys, name
        assert "values" in keys, name
        links = [value for _, value in values(found) if isinstance(value, str) and "://" in value]
        assert links == [found["$schema"]], name


def test_every_figure_is_named_and_explains_its_marks(specs):
    for name, found in specs.items():
        title = found["title"]
        assert title["text"], name
        assert title["subtitle"], name


def test_equal_rows_give_equal_bytes_whatever_was_drawn_before(results, tmp_path):
    write_chart(chart_of("roc", results), tmp_path / "a.json")
    spec(chart_of("confusion", results))
    write_chart(chart_of("roc", results), tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_can_be_drawn_without_a_browser(charts, name, tmp_path):
    write_chart(charts[name], tmp_path / f"{name}.json", pictures=True)
    picture = (tmp_path / f"{name}.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    width, height = (int.from_bytes(picture[start : start + 4], "big") for start in (16, 20))
    assert width > 600
    assert height > 300


def test_numbers_in_a_figure_are_finite(specs):
    for found in specs.values():
        json.dumps(found, allow_nan=False)


def test_the_forest_plot_names_what_it_cannot_show(specs):
    assert "Not shown, one class only: one_class." in specs["auroc"]["title"]["subtitle"]


def test_the_forest_plot_of_nothing_can_still_be_drawn(tmp_path):
    for name in ("auroc", "roc"):
        write_chart(chart_of(name, Results({}, {}, [], {})), tmp_path / f"{name}.json", pictures=True)


def test_the_roc_rows_are_the_curve(lists, results):
    rows = [row for row in rows_of("roc", results) if row["dataset"] == "mts_dev" and row["probe"] == "mean"]
    scores = next(scores for scores in lists if scores.dataset == "mts_dev" and scores.probe == "mean")
    fpr, tpr, _ = roc_curve(scores.labels, scores.logits)
    found = auc([row["fpr"] for row in rows], [row["tpr"] for row in rows])
    assert found == pytest.approx(auc(fpr, tpr), abs=1e-3)
    assert (rows[0]["fpr"], rows[0]["tpr"], rows[-1]["fpr"], rows[-1]["tpr"]) == (0.0, 0.0, 1.0, 1.0)


def test_the_precision_recall_rows_are_points_of_the_curve(lists, results):
    scores = lists[0]
    precision, recall, _ = precision_recall_curve(scores.labels, scores.logits)
    points = {(round(a, 4), round(b, 4)) for a, b in zip(recall, precision, strict=True)}
    rows = rows_of("precision_recall", results, scores=lists[:1])
    assert {(row["recall"], row["precision"]) for row in rows} <= points


def test_a_long_curve_is_thinned_to_what_a_panel_can_show_but_keeps_its_area():
    generator = np.random.default_rng(0)
    labels = np.arange(20_000) % 2 == 0
    fpr, tpr, _ = roc_curve(labels, generator.normal(size=20_000) + 2 * labels, drop_intermediate=False)
    points = corners(fpr, tpr)
    assert len(points) <= MOST
    assert auc(*zip(*points, strict=True)) == pytest.approx(auc(fpr, tpr), abs=2e-3)


def test_straight_runs_lose_their_inner_points():
    assert corners(np.array([0.0, 0.0, 0.0, 0.5, 1.0]), np.array([0.0, 0.5, 1.0, 1.0, 1.0])) == [
        (0.0, 0.0),
        (0.0, 1.0),
        (1.0, 1.0),
    ]


def test_the_confusion_keeps_the_budget_and_counts_every_record(lists, results):
    for budget in (0.0, 0.05):
        rows = rows_of("confusion", results, budget=budget)
        for scores in (scores for scores in lists if scores.labels.any()):
            cells = [row for row in rows if (row["dataset"], row["probe"]) == (scores.dataset, scores.probe)]
            assert sum(cell["count"] for cell in cells) == len(scores.ids)
            (alarms,) = [cell for cell in cells if cell["label"] == "low-stakes" and cell["flagged"] == "flagged"]
            assert alarms["share"] <= budget
            (hits,) = [cell for cell in cells if cell["label"] == "high-stakes" and cell["flagged"] == "flagged"]
            assert hits["share"] == pytest.approx(metrics.tpr_at_fpr(scores.logits, scores.labels, budget), abs=1e-4)


def test_the_histogram_holds_every_record_also_a_score_of_exactly_one(results):
    rows = rows_of("score_histogram", results)
    total = {}
    for row in rows:
        total[row["dataset"], row["probe"]] = total.get((row["dataset"], row["probe"]), 0) + row["count"]
    assert total["mts_dev", "mean"] == 86
    assert total["anthropic_dev", "attention"] == 300


def test_auroc_by_length_is_the_auroc_of_each_bin(lists, results):
    rows = rows_of("auroc_by_length", results, length_bins=2)
    (short, _) = [row for row in rows if (row["dataset"], row["probe"]) == ("mts_dev", "mean")]
    scores = next(scores for scores in lists if scores.dataset == "mts_dev" and scores.probe == "mean")
    assert short["n"] == 43
    assert short["auroc"] == pytest.approx(metrics.auroc(scores.logits[:43], scores.labels[:43]), abs=1e-4)
    assert short["low"] < short["auroc"] < short["high"]


def test_a_second_seed_of_a_probe_is_not_drawn_over_the_first(lists, results):
    again = [*lists, replace(lists[0], seed=43, logits=-lists[0].logits)]
    assert rows_of("roc", results, scores=again) == rows_of("roc", results)


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_says_its_finding_of_every_probe(name, charts, results):
    rows = FIGURES[name].rows(results)
    finding = FIGURES[name].finding(rows, results)
    drawn = spec(charts[name], finding)
    assert drawn["description"] == finding
    probes = {"attention"} if name in ("auroc", "tpr") else {scores.probe for scores in results.scores}
    assert all(probe in finding for probe in probes)


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_of_nothing_says_so(name):
    nothing = Results({}, {}, [], {})
    assert FIGURES[name].finding(FIGURES[name].rows(nothing), nothing) == NOTHING


def test_findings_are_the_numbers_of_the_scores(lists, results):
    budget = 0.05
    found = FIGURES["roc"].finding(rows_of("roc", results), replace(results, budget=budget))
    both = [scores for scores in lists if scores.probe == "mean" and scores.labels.any()]
    rates = sorted(metrics.tpr_at_fpr(scores.logits, scores.labels, budget) for scores in both)
    assert f"mean finds {rates[0]:.0%}" in found
    assert f"{rates[-1]:.0%}" in found
    misses = sum(int((scores.labels & (scores.probabilities < 0.5)).sum()) for scores in both)
    share = misses / sum(int(scores.labels.sum()) for scores in both)
    told = FIGURES["score_histogram"].finding(rows_of("score_histogram", results), results)
    assert f"mean puts {share:.0%} of high-stakes records below" in told


def test_the_theme_tells_more_probes_than_colours_apart():
    from models_under_pressure.figures.theme import colour_scale, shape_scale

    names = [f"probe {number}" for number in range(16)]
    pairs = list(zip(colour_scale(names).to_dict()["range"], shape_scale(names).to_dict()["range"], strict=True))
    assert len(set(pairs)) == 16
