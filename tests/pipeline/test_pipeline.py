"""The whole graph, run by DVC in a temporary repository with a tiny model."""

import json

import pytest

pytestmark = pytest.mark.slow


def test_the_first_run_leaves_metrics_plots_and_a_clean_status(pipeline):
    evaluated = json.loads((pipeline.path / "metrics/evaluate.json").read_text())
    assert set(evaluated) == {
        "anthropic_dev",
        "anthropic_test",
        "aya_test",
        "mt_dev",
        "mt_test",
        "train",
        "validation",
    }
    for probes in evaluated.values():
        for metrics in probes.values():
            assert metrics["auroc_low"] <= metrics["auroc"] <= metrics["auroc_high"]
            assert metrics["n"] == 2 * metrics["positives"]
    figure = json.loads((pipeline.path / "plots/figures/auroc.json").read_text())
    assert figure["$schema"].startswith("https://vega.github.io")
    assert "mt_dev" in (pipeline.path / "plots/report.html").read_text()
    assert pipeline.dvc("status").stdout.strip() == "Data and pipelines are up to date."
    assert pipeline.run("git", "status", "--porcelain").stdout == ""


def test_a_second_run_has_nothing_to_do(pipeline):
    assert pipeline.stages_run(pipeline.dvc("repro").stdout) == set()


def test_a_clone_that_runs_everything_gets_the_same_hashes(pipeline, tmp_path):
    other = type(pipeline)(tmp_path / "clone", pipeline.environment)
    pipeline.run("git", "clone", "-q", str(pipeline.path), str(other.path))
    other.dvc("repro")
    assert other.run("git", "status", "--porcelain").stdout == ""
    assert other.dvc("status").stdout.strip() == "Data and pipelines are up to date."


def test_switching_the_layer_and_back_extracts_once_each(pipeline):
    there = pipeline.dvc("exp", "run", "-S", "probe.layer=2").stdout
    assert "extract" in pipeline.stages_run(there)
    back = pipeline.dvc("exp", "run", "-S", "probe.layer=1").stdout
    again = pipeline.dvc("exp", "run", "-S", "probe.layer=2").stdout
    assert not {name for name in pipeline.stages_run(back + again) if name.startswith(("extract", "train"))}
    diff = pipeline.dvc("metrics", "diff", "--md").stdout
    assert "auroc" in diff
    pipeline.run("git", "checkout", "-q", ".")
    pipeline.dvc("checkout")


def test_a_dataset_that_changes_is_the_only_one_extracted_again(pipeline):
    def other_version(content):
        content["datasets"]["mt_dev"]["path"] = "data/evals/dev/mt_balanced_apr_16.jsonl"

    pipeline.edit("data/versions.yaml", other_version)
    outcomes = [line.split() for line in pipeline.dvc("repro", "extract").stdout.splitlines() if ".zarr" in line]
    pipeline.run("git", "checkout", "-q", ".")
    pipeline.dvc("checkout")
    assert [path.split("/")[3] for outcome, path in outcomes if outcome == "written"] == ["mt_dev"]
    assert sum(outcome == "exists" for outcome, _ in outcomes) == 6
