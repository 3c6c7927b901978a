"""Stages `evaluate` and `summarise`: every method is measured alike, and only on the dataset's own records."""

import contextlib
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from models_under_pressure.params.evaluate import EvaluateParams

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import write_json
from models_under_pressure.core.paths import CONFOUNDERS, OVERLAPS, evaluated_path, scores_path
from models_under_pressure.core.records import Label, Record, write_records
from models_under_pressure.evaluation.attributes import attributes_of
from models_under_pressure.evaluation.config import EvaluateConfig
from models_under_pressure.evaluation.report import evaluate_scores
from models_under_pressure.evaluation.scores import ScoreList, write_scores
from models_under_pressure.evaluation.summary import compact
from models_under_pressure.stages import evaluate, summarise

CONFIG = EvaluateConfig(resamples=100, groups={"language": ("language", "lang")}, least_group=5)
RECORDS = Path("records.jsonl")


def records(size=60):
    return [
        Record(
            f"{number:03}",
            "word " * (number + 1),
            Label.HIGH if number % 2 == 0 else Label.LOW,
            fields={"group": f"g{number // 2}", "lang" if number % 3 else "language": "de" if number < 30 else "en"},
        )
        for number in range(size)
    ]


def scores_of(rows, probe="mean", seed=42, signal=1.5, dataset="mt_dev"):
    labels = np.array([record.is_high for record in rows])
    logits = np.random.default_rng(seed).normal(size=len(rows)) + signal * labels
    ids, groups = zip(*[(record.id, record.group) for record in rows], strict=True)
    return ScoreList(dataset, probe, seed, ids, groups, labels, logits, 1 / (1 + np.exp(-logits)))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_records(RECORDS, records())


def run(methods=("probes",)):
    evaluate.run("mt_dev", methods=methods, records=RECORDS, config=CONFIG, seed=0)
    return json.loads(evaluated_path("mt_dev").read_text())


def test_a_baseline_is_measured_like_a_probe():
    rows = records()
    write_scores(scores_path("mt_dev", "probes"), [scores_of(rows)])
    write_scores(scores_path("mt_dev", "text_baseline"), [scores_of(rows, probe="tfidf")])
    found = run(["probes", "text_baseline"])["metrics"]
    assert list(found) == ["mean", "tfidf"]
    assert found["mean"] == found["tfidf"]
    assert found["mean"]["auroc_low"] < found["mean"]["auroc"] < found["mean"]["auroc_high"]


def test_what_a_record_costs_stands_beside_what_it_brings():
    rows = records()
    known = replace(scores_of(rows), tokens=np.arange(60), flops=np.arange(60) * 10)
    write_scores(scores_path("mt_dev", "probes"), [known, scores_of(rows, probe="api")])
    found = run()["metrics"]
    assert (found["mean"]["tokens"], found["mean"]["flops"]) == (29.5, 295.0)
    assert "flops" not in found["api"]


def test_metrics_are_broken_down_by_language_and_length():
    write_scores(scores_path("mt_dev", "probes"), [scores_of(records())])
    groups = run()["groups"]["mean"]
    assert {value: row["n"] for value, row in groups["language"].items()} == {"de": 30, "en": 30}
    assert [row["n"] for row in groups["length"].values()] == [15, 15, 15, 15]
    assert all("fpr_at_shared_1pct" in row for row in groups["length"].values())


def test_several_seeds_give_their_mean_and_spread():
    lists = [scores_of(records(), seed=seed) for seed in (42, 43)]
    write_scores(scores_path("mt_dev", "probes"), lists)
    found = run()["metrics"]["mean"]
    assert found["auroc_seed_sd"] > 0
    assert found["n"] == 60


def test_a_dataset_of_one_class_has_no_ranking_and_no_groups():
    rows = [record for record in records() if record.label is Label.LOW]
    write_records(RECORDS, rows)
    write_scores(scores_path("mt_dev", "probes"), [scores_of(rows, seed=seed) for seed in (42, 43)])
    found = run()
    assert found["groups"] == {"mean": {}}
    assert "auroc" not in found["metrics"]["mean"]
    assert found["metrics"]["mean"]["positives"] == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda scores: replace(scores, labels=~scores.labels),
        lambda scores: replace(scores, ids=("x", *scores.ids[1:])),
        lambda scores: replace(scores, groups=scores.ids),
    ],
    ids=["labels", "ids", "groups"],
)
def test_scores_of_other_records_are_refused(change):
    write_scores(scores_path("mt_dev", "probes"), [change(scores_of(records()))])
    with pytest.raises(UserError, match=r"probes\.parquet.*'mean' are of other records"):
        run()


def test_ambiguous_records_of_the_dataset_have_no_score_and_are_not_missed():
    rows = records()
    write_records(RECORDS, [*rows, Record("z", "neither", Label.AMBIGUOUS)])
    write_scores(scores_path("mt_dev", "probes"), [scores_of(rows)])
    assert run()["metrics"]["mean"]["n"] == len(rows)


def test_scores_of_too_few_records_are_refused():
    write_scores(scores_path("mt_dev", "probes"), [scores_of(records()[:50])])
    with pytest.raises(UserError, match="other records"):
        run()


def test_two_methods_of_one_name_are_refused():
    for method in ("probes", "text_baseline"):
        write_scores(scores_path("mt_dev", method), [scores_of(records())])
    with pytest.raises(UserError, match="name of another method"):
        run(["probes", "text_baseline"])


def test_a_method_may_score_some_datasets_only():
    params = EvaluateParams(methods={"probes": None, "prompt_baseline": ("mt_dev",)})
    assert params.methods_of("mt_dev", "dev") == ["probes", "prompt_baseline"]
    assert params.methods_of("aya_test", "test") == ["probes"]


def test_an_attribute_takes_the_first_column_and_puts_rare_values_together():
    rows = [
        Record(str(n), "x", Label.LOW, fields={"a": value} if value else {"b": "z"})
        for n, value in enumerate(["p"] * 3 + ["q", "r", ""])
    ]
    found = attributes_of(rows, EvaluateConfig(groups={"topic": ("a", "b"), "none": ("c",)}, least_group=2))
    assert found == {"topic": ["p", "p", "p", "other (3 values)", "other (3 values)", "other (3 values)"]}


def test_git_keeps_few_numbers_and_the_summary_fewer_with_intervals():
    names = ("mt_dev", "aya_dev", "mt_test")
    for name in names:
        write_scores(
            scores_path(name, "probes"), [scores_of(records(), probe=p, dataset=name) for p in ("mean", "last")]
        )
        evaluate.run(name, methods=["probes"], records=RECORDS, config=CONFIG, seed=0)
    write_json(OVERLAPS, {"mt": {"pairs": [], "rows": {"dev": 3}}})
    write_json(CONFOUNDERS, {"summary": {"kept": {"length": 0.5}}})
    summarise.run(datasets={name: name.split("_")[1] for name in names})
    kept = json.loads(Path("metrics/evaluate.json").read_text())["mt_dev"]["mean"]
    assert set(kept) == {
        "n",
        "positives",
        "auroc",
        "auroc_low",
        "auroc_high",
        "auprc",
        "accuracy",
        "brier",
        "ece",
        "tpr_at_1pct_fpr",
    }
    summary = json.loads(Path("metrics/summary.json").read_text())
    assert list(summary) == ["dev", "test"]
    mean = summary["dev"]["mean"]
    assert (mean["datasets"], mean["n"]) == (2, 120)
    assert mean["auroc_low"] < mean["auroc"] < mean["auroc_high"]
    assert mean["tpr_at_1pct_fpr_low"] <= mean["tpr_at_1pct_fpr"] <= mean["tpr_at_1pct_fpr_high"]


def test_the_difference_of_two_layers_fits_a_comment_on_a_pull_request():
    """GitHub takes 65,536 characters; here every number of four probes on twelve datasets changes."""
    from dvc.compare import show_diff

    full = evaluate_scores([0.1, 0.4, 0.3, 0.9], [0, 0, 1, 1], None, config=CONFIG, seed=0, probabilities=[0, 0, 1, 1])
    row = compact(full | {"tokens": 123.4, "flops": 123456.7})
    datasets = [f"mental_health_test_{number}" for number in range(12)]
    diff = {
        f"{dataset}.difference_of_means_{probe}.{name}": {"old": 0.1234, "new": 0.2345, "diff": 0.1111}
        for dataset in datasets
        for probe in range(4)
        for name in row
        if name not in ("n", "positives", "tokens", "flops")
    }
    with io.StringIO() as shown, contextlib.redirect_stdout(shown):
        show_diff({"metrics/evaluate.json": diff}, markdown=True, title="Metric")
        assert 10_000 < len(shown.getvalue()) < 65_536
