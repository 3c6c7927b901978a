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
    other = type(pipeline)(tmp_path / "clone", pipeline.environment | {"MUP_STORES": str(tmp_path / "stores")})
    pipeline.run("git", "clone", "-q", str(pipeline.path), str(other.path))
    other.dvc("repro")
    assert other.run("git", "status", "--porcelain").stdout == ""
    assert other.dvc("status").stdout.strip() == "Data and pipelines are up to date."


def test_switching_the_layer_and_back_extracts_once_each(pipeline):
    there = pipeline.dvc("exp", "run", "-S", "probe.layer=2", "summarise").stdout
    assert "extract" in pipeline.stages_run(there)
    back = pipeline.dvc("exp", "run", "-S", "probe.layer=1", "summarise").stdout
    again = pipeline.dvc("exp", "run", "-S", "probe.layer=2", "summarise").stdout
    assert not {name for name in pipeline.stages_run(back + again) if name.startswith(("extract", "train"))}
    diff = pipeline.dvc("metrics", "diff", "--md").stdout
    assert "auroc" in diff


def test_a_dataset_that_changes_is_the_only_one_extracted_again(pipeline):
    def other_version(content):
        content["datasets"]["mt_dev"]["path"] = "data/evals/dev/mt_balanced_apr_16.jsonl"

    pipeline.edit("data/versions.yaml", other_version)
    outcomes = [line.split() for line in pipeline.dvc("repro", "extract").stdout.splitlines() if ".zarr" in line]
    assert [path.split("/")[3] for outcome, path in outcomes if outcome == "written"] == ["mt_dev"]
    assert sum(outcome == "exists" for outcome, _ in outcomes) == 6


def test_an_edited_recipe_reruns_its_version_and_its_descendants_only(pipeline):
    def edit(content):
        content["versions"]["mt_apr_30"]["steps"][0]["count"] = 20

    pipeline.edit("data/versions.yaml", edit)
    output = pipeline.dvc("repro", "score_probes").stdout
    changed = pipeline.stages_run(output)
    extracted = {line.split("/")[3] for line in output.splitlines() if line.startswith("written")}
    assert {name for name in changed if name.startswith("relabel")} == {"relabel@mt_apr_30"}
    assert extracted == {"mt_dev", "mt_test"}
    assert "score_probes" in changed
    assert not any(name.startswith(("fetch", "parse", "synthesise", "label_deployment")) for name in changed)


def test_queued_and_temporary_experiments_work(pipeline):
    knob = "train.probes.mean.inverse_regularisation"
    pipeline.dvc("exp", "run", "--temp", "-n", "strong", "-S", f"{knob}=0.01", "summarise")
    pipeline.dvc("exp", "run", "--queue", "-n", "weak", "-S", f"{knob}=0.1", "summarise")
    pipeline.dvc("queue", "start", "-j", "1")
    pipeline.dvc("queue", "logs", "weak", "-f", check=False)
    shown = pipeline.dvc("exp", "show", "--json").stdout
    assert "strong" in shown
    assert "weak" in shown


@pytest.mark.parametrize(
    ("break_it", "arguments", "message"),
    [
        (lambda r: r.edit("params.yaml", lambda c: c["probe"].update(layer=9)), ("extract",), "layer"),
        (lambda r: r.edit("params.yaml", lambda c: c.update(sed=1)), ("plot",), "`sed`: unknown key; allowed: "),
        (
            lambda r: r.edit("params.yaml", lambda c: c["llm"].update(model="other")),
            ("relabel", "mt_apr_16"),
            "repl",
        ),
        (lambda r: None, ("relabel", "mt_apr_99"), "no version 'mt_apr_99'"),
        (
            lambda r: r.edit("data/versions.yaml", lambda c: c["versions"]["mt_apr_30"].update(parent="apr_31")),
            ("relabel", "mt_apr_30"),
            "its parent mt_apr_31 does not exist",
        ),
    ],
)
def test_a_mistake_is_one_line_with_its_remedy_and_status_1(pipeline, break_it, arguments, message):
    break_it(pipeline)
    broken = pipeline.run("git", "status", "--porcelain").stdout
    done = pipeline.mup(*arguments, check=False)
    after = pipeline.run("git", "status", "--porcelain").stdout
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert after == broken


def test_an_overlapping_split_stops_the_pipeline(pipeline):
    dev = pipeline.path / "data/evals/dev/mt_raw_apr_30.jsonl"
    test = pipeline.path / "data/evals/test/mt_test_raw_apr_30.jsonl"
    before = test.read_bytes()
    test.write_bytes(before + dev.read_bytes().splitlines(keepends=True)[0])
    report = pipeline.path / "data/results/overlap.json"
    old = report.read_bytes()
    done = pipeline.mup("check_overlap", check=False)
    test.write_bytes(before)
    assert done.returncode == 1
    assert "mt_apr_30 has" in done.stderr
    assert report.read_bytes() == old
