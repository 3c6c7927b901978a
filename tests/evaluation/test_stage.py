"""Stages `evaluate` and `summarise`: every method is measured alike, and only on the dataset's own records."""

import contextlib
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import file_hash, read_json, write_json
from models_under_pressure.core.paths import OVERLAPS, RESULTS, Dataset, evaluated_path, probe_paths, scores_path
from models_under_pressure.core.records import Label, Record, write_records
from models_under_pressure.core.section import dotted
from models_under_pressure.evaluation.measure import attributes_of
from models_under_pressure.evaluation.report import EvaluateConfig, evaluate_scores, headline, means_by_purpose
from models_under_pressure.evaluation.scores import ScoreList, write_scores
from models_under_pressure.stages import evaluate, summarise

CONFIG = EvaluateConfig(resamples=100, groups={"language": ("language", "lang")}, least_group=5)
MT_DEV = Dataset("mt_dev", "dev")
RECORDS = MT_DEV.path


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
    evaluate.run([MT_DEV], files=[scores_path(one) for one in methods], root=RESULTS, config=CONFIG, seed=0)
    return json.loads(evaluated_path("mt_dev").read_text())


def test_a_baseline_is_measured_like_a_probe():
    rows = records()
    write_scores(scores_path("probes"), [scores_of(rows)])
    write_scores(scores_path("text_baseline"), [scores_of(rows, probe="tfidf")])
    found = run(["probes", "text_baseline"])["metrics"]
    assert list(found) == ["mean", "tfidf"]
    assert found["mean"] == found["tfidf"]
    assert found["mean"]["auroc_low"] < found["mean"]["auroc"] < found["mean"]["auroc_high"]


def test_records_that_the_extraction_may_skip_are_left_out_of_all_methods_and_more_are_refused(caplog):
    rows = records()
    write_scores(scores_path("probes"), [scores_of(rows[2:])])
    write_scores(scores_path("text_baseline"), [scores_of(rows, probe="tfidf")])
    with pytest.raises(UserError, match="other records"):
        run(["probes", "text_baseline"])
    files = [scores_path(one) for one in ("probes", "text_baseline")]
    evaluate.run([MT_DEV], files=files, root=RESULTS, config=CONFIG, seed=0, skipped=2)
    found = json.loads(evaluated_path("mt_dev").read_text())["metrics"]
    assert found["mean"]["n"] == found["tfidf"]["n"] == 58
    assert "2 of 60 records have no score" in caplog.text


def test_what_a_record_costs_stands_beside_what_it_brings():
    rows = records()
    known = replace(scores_of(rows), tokens=np.arange(60), flops=np.arange(60) * 10)
    write_scores(scores_path("probes"), [known, scores_of(rows, probe="api")])
    found = run()["metrics"]
    assert (found["mean"]["tokens"], found["mean"]["flops"]) == (29.5, 295.0)
    assert "flops" not in found["api"]


def test_metrics_are_broken_down_by_language_and_length():
    write_scores(scores_path("probes"), [scores_of(records())])
    groups = run()["groups"]["mean"]
    assert {value: row["n"] for value, row in groups["language"].items()} == {"de": 30, "en": 30}
    assert [row["n"] for row in groups["length"].values()] == [15, 15, 15, 15]
    assert all("fpr_at_shared_1pct" in row for row in groups["length"].values())


def test_several_seeds_give_their_mean_and_spread():
    lists = [scores_of(records(), seed=seed) for seed in (42, 43)]
    write_scores(scores_path("probes"), lists)
    found = run()["metrics"]["mean"]
    assert found["auroc_seed_sd"] > 0
    assert found["n"] == 60


def test_a_dataset_of_one_class_has_no_ranking_and_no_groups():
    rows = [record for record in records() if record.label is Label.LOW]
    write_records(RECORDS, rows)
    write_scores(scores_path("probes"), [scores_of(rows, seed=seed) for seed in (42, 43)])
    found = run()
    assert found["groups"] == {"mean": {}}
    assert "auroc" not in found["metrics"]["mean"]
    assert found["metrics"]["mean"]["positives"] == 0


def test_the_stored_threshold_is_measured_on_every_set_also_of_one_class():
    rows = records()
    ordinary = [record for record in rows if record.label is Label.LOW]
    control = Dataset("ours", "control")
    write_records(control.path, ordinary)
    lists = [scores_of(rows), scores_of(ordinary, dataset="ours"), scores_of(rows, probe="other")]
    write_scores(scores_path("probes"), lists)
    stored = {("mean", 42): {0.01: 0.5, 0.1: None}}
    files = [scores_path("probes")]
    evaluate.run([MT_DEV, control], files=files, root=RESULTS, config=CONFIG, seed=0, stored=stored)
    dev, ours = (read_json(evaluated_path(name))["metrics"]["mean"] for name in ("mt_dev", "ours"))
    flagged = lists[0].logits >= 0.5
    assert dev["fpr_at_stored_1pct"] == pytest.approx(flagged[~lists[0].labels].mean(), abs=1e-4)
    assert dev["tpr_at_stored_1pct"] == pytest.approx(flagged[lists[0].labels].mean(), abs=1e-4)
    assert dev["fpr_at_stored_1pct_low"] < dev["fpr_at_stored_1pct"] < dev["fpr_at_stored_1pct_high"]
    assert dev["tpr_at_stored_10pct"] == 0.0
    assert "fpr_at_stored_1pct" in ours
    assert "tpr_at_stored_1pct" not in ours
    assert "fpr_at_stored_1pct" not in read_json(evaluated_path("mt_dev"))["metrics"]["other"]
    write_json(OVERLAPS, {"compared": {}, "files": {}})
    summarise.run([MT_DEV, control], contents={"mt_dev": "a", "ours": "b"})
    assert set(read_json(Path("metrics/evaluate.json"))["auroc"]) == {"mt_dev"}
    kept = read_json(Path("metrics/intervals.json"))["ours"]["methods"]["mean"]
    assert set(kept) == {"n", "positives", *(f"fpr_at_stored_1pct{end}" for end in ("", "_low", "_high"))}
    assert {"fpr_at_stored_1pct", "tpr_at_stored_1pct"} <= set(read_json(Path("metrics/summary.json"))["dev"]["mean"])


def test_thresholds_of_trained_probes_are_read_but_for_those_that_were_refused():
    rows = [{"budget": 0.01, "logit": 1.5}, {"budget": 0.001, "logit": None, "refused": "needs 2,995 conversations"}]
    for seed in (42, 43):
        write_json(probe_paths("mean", seed, 1)[0] / "probe.json", {"seed": seed, "thresholds": rows})
    found = evaluate.stored_thresholds({"mean": {"seeds": 2}, "many": {"seeds": 3, "ensemble": True}}, 42)
    assert found == {("mean", 42): {0.01: 1.5}, ("mean", 43): {0.01: 1.5}}


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
    write_scores(scores_path("probes"), [change(scores_of(records()))])
    with pytest.raises(UserError, match=r"the scores of 'mean' are of other records, labels or groups than mt_dev"):
        run()


def test_ambiguous_records_of_the_dataset_have_no_score_and_are_not_missed():
    rows = records()
    write_records(RECORDS, [*rows, Record("z", "neither", Label.AMBIGUOUS)])
    write_scores(scores_path("probes"), [scores_of(rows)])
    assert run()["metrics"]["mean"]["n"] == len(rows)


def test_scores_of_too_few_records_are_refused():
    write_scores(scores_path("probes"), [scores_of(records()[:50])])
    with pytest.raises(UserError, match="other records"):
        run()


def test_two_methods_of_one_name_are_refused():
    for method in ("probes", "text_baseline"):
        write_scores(scores_path(method), [scores_of(records())])
    with pytest.raises(UserError, match="name of another method"):
        run(["probes", "text_baseline"])


def test_a_method_may_score_some_datasets_only():
    other = Dataset("aya_test", "test")
    write_records(other.path, records())
    write_scores(scores_path("probes"), [scores_of(records(), dataset=name) for name in ("mt_dev", "aya_test")])
    write_scores(scores_path("asked"), [scores_of(records(), probe="asked")])
    files = [scores_path("probes"), scores_path("asked")]
    evaluate.run([MT_DEV, other], files=files, root=RESULTS, config=CONFIG, seed=0)
    found = {name: set(read_json(evaluated_path(name))["metrics"]) for name in ("mt_dev", "aya_test")}
    assert found == {"mt_dev": {"mean", "asked"}, "aya_test": {"mean"}}


def test_an_attribute_takes_the_first_column_and_puts_rare_values_together():
    rows = [
        Record(str(n), "x", Label.LOW, fields={"a": value} if value else {"b": "z"})
        for n, value in enumerate(["p"] * 3 + ["q", "r", ""])
    ]
    found = attributes_of(rows, EvaluateConfig(groups={"topic": ("a", "b"), "none": ("c",)}, least_group=2))
    assert found == {"topic": ["p", "p", "p", "other (3 values)", "other (3 values)", "other (3 values)"]}


def summarised(datasets=("mt_dev", "aya_dev", "mt_test", "train_train")):
    """What `summarise` writes for datasets of the purposes that their names end in."""
    in_use = [Dataset(name, name.rpartition("_")[2]) for name in datasets]
    for one in in_use:
        write_records(one.path, records())
    lists = [scores_of(records(), probe=probe, dataset=name) for name in datasets for probe in ("mean", "last")]
    write_scores(scores_path("probes"), lists)
    evaluate.run(in_use, files=[scores_path("probes")], root=RESULTS, config=CONFIG, seed=0)
    write_json(OVERLAPS, {"compared": {"mt_apr_30": {"pairs": [{}], "rows": {"dev": 3}}}, "files": {}})
    summarise.run(in_use, contents={one.name: file_hash(one.path) for one in in_use})
    return {path.name: read_json(path) for path in Path("metrics").iterdir()}


def test_git_keeps_few_metrics_and_the_intervals_beside_them():
    found = summarised()
    assert set(found["evaluate.json"]["auroc"]) == {"mt_dev", "aya_dev", "mt_test"}, "nothing of training records"
    mean = found["summary.json"]["dev"]["mean"]
    assert set(mean) == {"auroc", "tpr_at_1pct_fpr"}
    assert list(found["summary.json"]) == ["dev", "test"]
    assert found["overlap.json"] == {"mt_apr_30": 1}
    kept = found["intervals.json"]["mt_dev"]
    assert (kept["purpose"], kept["content"]) == ("dev", file_hash(MT_DEV.path))
    row = kept["methods"]["mean"]
    assert set(row) == {
        "n",
        "positives",
        "auroc",
        "auroc_low",
        "auroc_high",
        "tpr_at_1pct_fpr",
        "tpr_at_1pct_fpr_low",
        "tpr_at_1pct_fpr_high",
    }
    assert row["auroc"] == found["evaluate.json"]["auroc"]["mt_dev"]["mean"]
    assert row["auroc_low"] < row["auroc"] < row["auroc_high"]
    assert row["tpr_at_1pct_fpr_low"] <= row["tpr_at_1pct_fpr"] <= row["tpr_at_1pct_fpr_high"]


def test_the_mean_over_datasets_counts_and_has_intervals():
    rows = [evaluate_scores([0.1, 0.4, 0.3, 0.9], [0, 0, 1, 1], None, config=CONFIG, seed=seed) for seed in (0, 1)]
    found = means_by_purpose({"a": {"m": rows[0]}, "b": {"m": rows[1]}}, {"a": "dev", "b": "dev"})["dev"]["m"]
    assert (found["datasets"], found["n"]) == (2, 8)
    assert found["auroc_low"] < found["auroc"] < found["auroc_high"]
    assert set(headline(found)) == {"auroc", "tpr_at_1pct_fpr"}


def test_the_difference_of_two_layers_fits_a_comment_on_a_pull_request():
    """GitHub takes 65,536 characters; here every number of four probes on twelve datasets changes."""
    from dvc.compare import show_diff

    names = [f"mental_health_{number}_{purpose}" for number in range(6) for purpose in ("dev", "test")]
    found = summarised(names)
    values = dotted({name: found[name] for name in ("evaluate.json", "summary.json")})
    diff = {
        f"{key.replace('.mean', f'.difference_of_means_{probe}')}": {"old": 0.1234, "new": 0.2345, "diff": 0.1111}
        for key in values
        for probe in range(4)
        if ".mean" in key
    }
    assert len(diff) == 4 * (12 + 2 * 2)
    with io.StringIO() as shown, contextlib.redirect_stdout(shown):
        show_diff({"metrics/evaluate.json": diff}, markdown=True, title="Metric")
        assert 2_000 < len(shown.getvalue()) < 12_000
