"""Both graphs, run by DVC in a temporary repository with a tiny model."""

import json
import shutil

import pytest

pytestmark = pytest.mark.slow

IN_USE = {"aya_test", "mt_dev", "mt_test", "validation"}


def read(repository, name):
    return json.loads((repository.path / name).read_text())


def extracted(output):
    """Datasets that an extraction had to run the model for."""
    lines = [line.split() for line in output.splitlines() if line.endswith(".zarr")]
    return {path.split("/")[-1].removesuffix(".zarr") for outcome, path in lines if outcome == "written"}


def test_the_first_run_leaves_metrics_plots_and_a_clean_status(pipeline):
    assert set(read(pipeline, "metrics/evaluate.json")["auroc"]) == IN_USE
    known = read(pipeline, "metrics/intervals.json")
    ordinary = known.pop("everyday")["methods"]["mean"]
    assert (ordinary["n"], ordinary["positives"]) == (300, 0)
    assert ordinary["fpr_at_stored_1pct"] <= 0.01
    assert set(known) == IN_USE
    for dataset in known.values():
        for metrics in dataset["methods"].values():
            assert metrics["auroc_low"] <= metrics["auroc"] <= metrics["auroc_high"]
            assert metrics["n"] == 2 * metrics["positives"]
    figure = read(pipeline, "plots/figures/results/auroc.json")
    assert figure["$schema"].startswith("https://vega.github.io")
    assert "mt_dev" in (pipeline.path / "plots/report.html").read_text()
    assert "compare_probes" in (pipeline.path / "plots/experiments.html").read_text()
    assert pipeline.dvc("status").stdout.strip() == "Data and pipelines are up to date."
    assert pipeline.run("git", "status", "--porcelain").stdout == ""


def test_a_second_run_has_nothing_to_do(pipeline):
    assert pipeline.stages_run(pipeline.dvc("repro", "-P").stdout) == set()


def test_the_root_pipeline_runs_no_experiment(pipeline):
    pipeline.edit("params.yaml", lambda content: content.update(seed=7))
    ran = pipeline.stages_run(pipeline.dvc("repro", "--dry").stdout)
    assert "train@mean" in ran
    assert not [name for name in ran if "experiments" in name]


def test_switching_the_layer_and_back_extracts_once_each_and_experiments_show_few_columns(pipeline):
    there = pipeline.dvc("exp", "run", "-S", "probe.layer=2", "summarise").stdout
    assert "extract" in pipeline.stages_run(there)
    diff = pipeline.dvc("metrics", "diff", "--md").stdout
    assert "auroc.mt_dev.mean" in diff
    assert len(diff.splitlines()) <= 45
    assert len(diff) <= 6000
    shown = pipeline.dvc("exp", "show", "--only-changed", "--drop", "auroc|data|plots|src", "--csv").stdout
    columns = set(shown.splitlines()[0].split(","))
    names = {"Experiment", "rev", "typ", "Created", "parent", "State", "Executor", "probe.layer"}
    assert "dev.attention.auroc" in columns
    assert len(columns - names) <= 20
    back = pipeline.dvc("exp", "run", "-S", "probe.layer=1", "train").stdout
    assert not pipeline.stages_run(back)
    assert "Stage 'extract' is cached" in back


def test_a_dataset_that_changes_is_the_only_one_extracted_again_and_no_probe_is_trained(pipeline):
    pipeline.edit("data/versions.yaml", lambda content: content["datasets"]["dev"].update(mt_dev="mt_apr_16"))
    output = pipeline.dvc("repro", "score_probes").stdout
    assert extracted(output) == {"mt_dev"}
    assert "score_probes" in pipeline.stages_run(output)
    assert not [name for name in pipeline.stages_run(output) if name.startswith("train")]


def test_a_new_eval_dataset_is_one_entry_and_everything_knows_it(pipeline):
    own = pipeline.path / "data/own/mine.jsonl"
    shutil.copy(pipeline.path / "data/evals/mt_apr_15/mt_balanced_apr_15.jsonl", own)
    rows = [json.loads(line) for line in own.read_text().splitlines()]
    for row in rows:  # other conversations than those of mt_dev
        row["ids"] = f"mine_{row['ids']}"
        row["inputs"] = f"Written for this test, {row['ids']}: {' '.join(reversed(str(row['inputs']).split()))}"
        row.pop("pair_id", None)
    own.write_text("".join(json.dumps(row) + "\n" for row in rows))
    pipeline.edit("data/versions.yaml", lambda content: content["datasets"]["dev"].update(mine="data/own/mine.jsonl"))
    output = pipeline.dvc("repro").stdout
    assert extracted(output) == {"mine"}
    assert not [name for name in pipeline.stages_run(output) if name.startswith(("train", "relabel", "synthesise"))]
    assert "mine" in read(pipeline, "metrics/evaluate.json")["auroc"]
    assert "mine" in (pipeline.path / "plots/report.html").read_text()

    own.write_text("".join(json.dumps(row) + "\n" for row in rows[2:] + rows[:2] if row is not rows[0]))
    assert extracted(pipeline.dvc("repro", "extract").stdout) == {"mine"}
    own.unlink()


def test_a_new_version_runs_itself_and_nothing_that_is_measured(pipeline):
    def add(content):
        content["versions"]["mt_may_1"] = {"parent": "mt_apr_30", "steps": [{"op": "move_last", "count": 2}]}

    pipeline.edit("data/versions.yaml", add)
    ran = pipeline.stages_run(pipeline.dvc("repro").stdout)
    assert "relabel@mt_may_1" in ran
    assert ran <= {"relabel@mt_may_1", "check_overlap", "use_datasets", "describe", "report", "summarise"}


def test_a_new_probe_is_one_entry_and_the_others_are_not_trained_again(pipeline):
    def add(content):
        content["train"]["probes"]["last"] = {"family": "last"}

    pipeline.edit("params.yaml", add)
    ran = pipeline.stages_run(pipeline.dvc("repro", "summarise").stdout)
    assert {name for name in ran if name.startswith("train@")} == {"train@last"}
    assert "extract" not in ran
    assert "last" in read(pipeline, "metrics/summary.json")["dev"]


def test_one_dataset_of_a_folder_can_be_pulled_alone(pipeline, tmp_path):
    pipeline.dvc("push", "-q", "data/datasets")
    other = type(pipeline)(tmp_path / "clone", pipeline.environment)
    pipeline.run("git", "clone", "-q", str(pipeline.path), str(other.path))
    other.dvc("remote", "modify", "-q", "--local", "datasets", "url", str(pipeline.path / ".remotes/datasets"))
    other.dvc("pull", "-q", "data/datasets/dev/mt_dev.jsonl")
    assert [path.name for path in (other.path / "data/datasets").rglob("*.jsonl")] == ["mt_dev.jsonl"]


def test_an_edited_recipe_reruns_its_version_and_its_descendants_only(pipeline):
    def edit(content):
        content["versions"]["mt_apr_30"]["steps"][0]["count"] = 20

    pipeline.edit("data/versions.yaml", edit)
    output = pipeline.dvc("repro", "score_probes").stdout
    changed = pipeline.stages_run(output)
    assert {name for name in changed if name.startswith("relabel")} == {"relabel@mt_apr_30"}
    assert extracted(output) == {"mt_dev", "mt_test"}
    assert "score_probes" in changed
    assert not any(name.startswith(("fetch", "parse", "synthesise", "label_deployment", "train")) for name in changed)


def test_an_experiment_with_a_changed_knob_of_its_own_runs_in_a_temporary_folder(pipeline):
    """As those of a queue do; remotes/test_git_flow.py has workers."""
    knob, target = "experiments/params.yaml:cascade.merge=max", "experiments/dvc.yaml:cascade"
    ran = pipeline.stages_run(pipeline.dvc("exp", "run", "--temp", "-n", "widest", "-S", knob, target).stdout)
    assert ran == {target}
    assert "widest" in pipeline.dvc("exp", "list", "--name-only").stdout.split()
    assert pipeline.run("git", "status", "--porcelain").stdout == ""


def use(purpose, name, value):
    return lambda r: r.edit("data/versions.yaml", lambda c: c["datasets"].setdefault(purpose, {}).update({name: value}))


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
            lambda r: r.edit("data/versions.yaml", lambda c: c["versions"]["mt_apr_30"].update(parent="mt_apr_31")),
            ("relabel", "mt_apr_30"),
            "its parent mt_apr_31 does not exist",
        ),
        (use("dev", "x", "mt_apr_31"), ("fetch", "mt"), "datasets.dev.x: there is no version 'mt_apr_31'"),
        (use("dev", "x", "mt_apr_30"), ("fetch", "mt"), "'mt_dev' and 'x' are one file"),
        (use("dev", "my set", "mt_apr_16"), ("fetch", "mt"), "'my set' is no word"),
        (use("holdout", "x", "mt_apr_16"), ("fetch", "mt"), "datasets.holdout"),
        (use("dev", "aya_dev", "aya_apr_22"), ("fetch", "mt"), "aya_apr_22 has no dev split"),
        (use("dev", "x", "somewhere/x.jsonl"), ("fetch", "mt"), "the graph does not watch somewhere/x.jsonl"),
        (use("dev", "mt_test", "mt_apr_16"), ("fetch", "mt"), "'mt_test' is a dev and a test dataset"),
        (use("dev", "x", "data/own/x.jsonl"), ("check_overlap",), "there is no file data/own/x.jsonl"),
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


def test_an_empty_set_is_refused_before_it_is_compared(pipeline):
    (pipeline.path / "data/own/x.jsonl").touch()
    use("dev", "x", "data/own/x.jsonl")(pipeline)
    done = pipeline.mup("check_overlap", check=False)
    (pipeline.path / "data/own/x.jsonl").unlink()
    assert done.returncode == 1
    assert "data/own/x.jsonl is empty" in done.stderr


def test_an_overlapping_split_stops_the_pipeline(pipeline):
    dev = pipeline.path / "data/evals/mt_apr_30/mt_raw_apr_30.jsonl"
    test = pipeline.path / "data/evals/mt_apr_30/mt_test_raw_apr_30.jsonl"
    before = test.read_bytes()
    test.write_bytes(before + dev.read_bytes().splitlines(keepends=True)[0])
    report = pipeline.path / "data/results/overlap.json"
    old = report.read_bytes()
    done = pipeline.mup("check_overlap", check=False)
    test.write_bytes(before)
    assert done.returncode == 1
    assert "mt_apr_30 has" in done.stderr
    assert report.read_bytes() == old


def test_what_was_not_checked_cannot_be_used(pipeline):
    file = pipeline.path / "data/evals/mt_apr_30/mt_balanced_apr_30.jsonl"
    before = file.read_bytes()
    file.write_bytes(b"".join(before.splitlines(keepends=True)[1:]))
    done = pipeline.mup("use_datasets", check=False)
    file.write_bytes(before)
    assert done.returncode == 1
    assert "is not the file that was checked for overlap" in done.stderr
