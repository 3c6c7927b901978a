"""The figures of the experiments: self-contained, equal for equal rows, and told in words."""

import json
from functools import cache

import numpy as np
import pytest

from models_under_pressure.figures import ExperimentFigure, declared
from models_under_pressure.figures.render import spec

EXPERIMENTS = declared(ExperimentFigure)
DATASETS = {"a_dev": "dev", "a_test": "test", "b_test": "test"}
VALUES = np.random.default_rng(0)


def estimate(n=50):
    auroc = round(float(VALUES.uniform(0.6, 0.9)), 4)
    return {"auroc": auroc, "auroc_low": auroc - 0.08, "auroc_high": auroc + 0.05, "n": n, "positives": n // 2}


def with_means(rows):
    keys = ("dataset", "n", "positives", "auroc", "auroc_low", "auroc_high", "auroc_of_each")
    seen = {}
    for row in rows:
        own = {key: value for key, value in row.items() if key not in keys}
        seen.setdefault(json.dumps(own), own)
    return [*rows, *({"dataset": "mean", "datasets": 2} | own | estimate(100) for own in seen.values())]


def cascade_rows():
    rows = [
        {
            "dataset": name,
            "purpose": purpose,
            "kind": "alone",
            "first": one,
            "flops": 10.0**power,
            "flops_per_token": 2.0,
        }
        | estimate()
        for name, purpose in DATASETS.items()
        for one, power in (("probe", 6), ("llm", 11))
    ]
    pair = {"kind": "cascade", "first": "probe", "second": "llm"}
    rows += [
        {"dataset": name, "purpose": purpose, "selection": selection, "share": share, "flops": 1e6 + share * 1e11}
        | pair
        | estimate()
        for name, purpose in DATASETS.items()
        for selection in ("mid", "top", "uncertain", "random")
        for share in (0.0, 0.5, 1.0)
    ]
    return with_means(rows)


def calibration():
    maps = ("none", "platt", "isotonic", "temperature")
    origins = [{"monitor": "probe", "recalibration": name} for name in maps]
    origins.append({"monitor": "llm", "recalibration": "none"})
    names = ("brier", "ece", "adaptive_ece", "stakes_correlation")
    errors = {key: 0.2 for name in names for key in (name, f"{name}_low", f"{name}_high")}
    bins = [
        {"forecast": forecast, "observed": 0.5, "low": 0.3, "high": 0.7, "n": 20, "records": 60}
        for forecast in (0.2, 0.8)
    ]
    scale = [{"stakes": 2, "mean": 0.3, "low": 0.2, "high": 0.4, "n": 30}, {"stakes": 9, "mean": 0.7, "n": 1}]
    pooled = {"dataset": "pooled", "purpose": "test"}
    return {
        "monitors": {"probe": {"fitted_on": ["validation"], "n": 74}, "llm": {"reason": "no scores of validation"}},
        "errors": [
            {"dataset": "mean", "purpose": purpose, "datasets": 2, "n": 60, "positives": 30} | origin | errors
            for purpose in ("dev", "test")
            for origin in origins
        ],
        "bins": [pooled | {"binning": "equal width"} | origin | row for origin in origins for row in bins],
        "scale": [pooled | origin | row for origin in origins for row in scale],
    }


def robustness_rows():
    rows = []
    for change, kind in (("none", "none"), ("before_4x", "before"), ("jailbreak", "jailbreak")):
        shown = {"dataset": "mean", "datasets": 2, "change": change, "kind": kind, "amount": 0, "tokens": 120.5}
        shown |= {"less_benign": int(kind == "before"), "truncated": 0}
        for probe in ("mean", "attention", "permuted_labels"):
            row = shown | {"probe": probe, "family": probe} | estimate()
            if probe != "permuted_labels":
                names = [name for metric in ("tpr", "fpr") for name in (metric, f"{metric}_change")]
                row |= {f"{name}{end}": 0.1 for name in (*names, "auroc_change") for end in ("", "_low", "_high")}
                row = {key: value for key, value in row.items() if kind != "none" or "_change" not in key}
            rows.append(row)
    left_out = {"dataset": "mean", "change": "paraphrase", "kind": "paraphrase", "amount": 0, "left_out": "no file"}
    return [*rows, left_out]


RESULTS = {
    "measure_robustness": robustness_rows(),
    "measure_calibration": calibration(),
    "calibration_by_stakes": calibration(),
    "compare_probes": with_means(
        [
            {"dataset": name, "purpose": purpose, "probe": probe, "seeds": 2, "tpr_at_1pct_fpr": 0.4}
            | estimate()
            | {"auroc_of_each": [0.7, 0.8]}
            for name, purpose in DATASETS.items()
            for probe in ("attention", "mean")
        ]
    ),
    "choose_layer": {
        "layer": 8,
        "rule": "one_standard_error",
        "probe": "mean_logistic",
        "layers": [
            {"layer": layer, "accuracy": 0.7, "folds": 2, "auroc_of_each": [0.7, 0.8]} | estimate()
            for layer in (4, 8, 12)
        ],
    },
    "train_on_dev": with_means(
        [
            {"dataset": name, "mode": mode, "size": size, "repeats": 3} | estimate()
            for name in ("a_test", "b_test")
            for mode, size in (("initial", 0), ("only", 2), ("only", 8), ("fine_tune", 2), ("fine_tune", 8))
        ]
    ),
    "measure_data_efficiency": with_means(
        [
            {"dataset": name, "method": method, "kind": "probe", "size": size, "repeats": 3} | estimate()
            for name in ("a_dev", "b_dev")
            for method in ("attention", "mean")
            for size in (4, 1910)
        ]
    ),
    "measure_generalisation": [
        {"attribute": "tone", "trained_on": one, "tested_on": other, "n_train": 40}
        | ({"n": 2, "left_out": "few"} if other == "odd" else estimate())
        for one in ("calm", "angry")
        for other in ("calm", "angry", "odd")
    ],
    "compare_templates": with_means(
        [
            {"dataset": name, "model": model, "template": template, "chosen": template == "default"} | estimate()
            for name in ("a_dev", "b_dev")
            for model, templates in (("llama", ("default", "single_word")), ("gemma", ("default",)))
            for template in templates
        ]
    ),
    "cascade": cascade_rows(),
    "compare_methods": cascade_rows(),
}


@pytest.fixture(params=sorted(EXPERIMENTS))
def name(request):
    return request.param


@cache
def shown(name):
    """The figure of an experiment; it takes long to build."""
    return spec(EXPERIMENTS[name].chart(RESULTS[name]))


def test_a_figure_is_self_contained_and_the_same_for_the_same_rows(name):
    found = spec(EXPERIMENTS[name].chart(RESULTS[name]))
    assert json.dumps(found).count("://") == 1  # its schema
    assert found == shown(name)


def test_a_figure_can_be_drawn(name):
    import vl_convert

    drawn = vl_convert.vegalite_to_svg(shown(name))
    assert shown(name)["title"]["text"] in drawn
    assert "NaN" not in drawn
    assert "undefined" not in drawn


def test_a_finding_tells_numbers_and_a_summary_holds_nothing_but_numbers(name):
    experiment = EXPERIMENTS[name]
    assert any(character.isdigit() for character in experiment.finding(RESULTS[name]))

    def leaves(node):
        return [leaf for value in node.values() for leaf in leaves(value)] if isinstance(node, dict) else [node]

    summary = experiment.summary(RESULTS[name]) if experiment.summary else {}
    assert all(isinstance(leaf, int | float) for leaf in leaves(summary))
    assert not any("." in key for key in summary)


def test_a_summary_keeps_the_few_numbers_that_are_compared():
    def told(name):
        return EXPERIMENTS[name].summary(RESULTS[name])

    assert told("measure_calibration") == {"probe": 0.2, "llm": 0.2}
    assert list(told("train_on_dev")["only"]) == ["size_2", "size_8"]
    assert list(told("measure_data_efficiency")["mean"]) == ["size_4", "size_1910"]
    assert list(told("measure_robustness")) == ["mean", "attention", "permuted_labels"]
    worst = min(row["auroc"] for row in RESULTS["measure_robustness"] if row.get("probe") == "mean")
    assert told("measure_robustness")["mean"]["worst"] == worst
    tested = [row for row in RESULTS["cascade"] if row["dataset"] == "mean" and row["purpose"] == "test"]
    best = max(row["auroc"] for row in tested if row["kind"] == "cascade")
    assert told("cascade") == {"probe_then_llm": best}
    cells = [row for row in RESULTS["measure_generalisation"] if row["trained_on"] == row["tested_on"]]
    assert told("measure_generalisation")["same"] == pytest.approx(np.mean([row["auroc"] for row in cells]), abs=1e-4)
