"""Model scaling: which model each monitor reads, results of several runs side by side, none twice."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from models_under_pressure.cli import app
from models_under_pressure.core.errors import UserError
from models_under_pressure.figures.by_size import scaling_chart, scaling_finding
from models_under_pressure.figures.render import spec
from models_under_pressure.tools.scaling import Run, means_of, scaling_rows, to_table

ROOT = Path(__file__).parents[2]
SIZES = {"org/one": 1_000_000_000, "org/eight": 8_000_000_000, "org/asked": 3_000_000_000}


def run(name, model, auroc):
    params = {
        "model": {"name": model},
        "models": {"one": "org/one", "eight": "org/eight"},
        "train": {"probes": {"attention": {}, "mean": {}}},
        "prompt_baseline": {"models": {"llm": {"name": "org/asked"}}},
        "finetune_baseline": {"models": {"small": {"model": "one"}}},
    }
    found = {"auroc": auroc, "auroc_low": auroc - 0.1, "auroc_high": auroc + 0.1, "n": 100, "datasets": 2}
    same = found | {"auroc": 0.7, "auroc_low": 0.6, "auroc_high": 0.8}
    monitors = {"attention": found, "prompted_llm": same, "finetuned_small": same, "tfidf_logistic": same}
    return Run(name, params, {"test": monitors, "train": monitors})


@pytest.fixture
def rows():
    return scaling_rows([run("a", "eight", 0.9), run("b", "one", 0.8)], SIZES.__getitem__)


def test_a_probe_has_the_size_of_the_model_it_reads_and_a_baseline_its_own(rows):
    assert [(row["monitor"], row["model"], row["parameters"], row["run"]) for row in rows] == [
        ("attention", "one", SIZES["org/one"], "b"),
        ("attention", "eight", SIZES["org/eight"], "a"),
        ("finetuned", "one", SIZES["org/one"], "a"),
        ("prompted", "org/asked", SIZES["org/asked"], "a"),
    ]


def test_means_join_the_intervals_of_both_pipelines_dataset_by_dataset():
    row = {"n": 10, "positives": 5, "auroc_low": 0.6, "auroc_high": 0.9}
    purposes = {"a_dev": "dev", "b_dev": "dev", "a_test": "test"}

    def file(method, *aurocs):
        methods = ({method: row | {"auroc": value}} for value in aurocs)
        return {
            name: {"purpose": purpose, "content": "", "methods": found}
            for (name, purpose), found in zip(purposes.items(), methods, strict=True)
        }

    means = means_of([file("attention", 0.8, 0.6, 0.7), file("prompted_llm", 0.7, 0.9, 0.8)])
    assert means["dev"]["attention"]["auroc"] == pytest.approx(0.7)
    assert means["dev"]["prompted_llm"]["auroc"] == pytest.approx(0.8)
    assert (means["dev"]["prompted_llm"]["datasets"], means["test"]["attention"]["n"]) == (2, 10)


def test_the_figure_can_be_drawn_and_told(rows):
    import vl_convert

    assert "AUROC by model size" in vl_convert.vegalite_to_svg(spec(scaling_chart(rows)))
    assert "attention 0.80 (one) to 0.90 (eight)" in scaling_finding(rows)
    assert len(to_table(rows).splitlines()) == 1 + len(rows)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "test")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "test@example.com")
    Path("metrics").mkdir()
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    subprocess.run(["git", "init", "-q"], check=True)
    return tmp_path


def commit(auroc):
    Path("metrics/summary.json").write_text(json.dumps(run("", "", auroc).means))
    subprocess.run(["git", "add", "-A"], check=True)
    subprocess.run(["git", "commit", "-qm", "x"], check=True)


def test_the_command_reads_commits_and_experiments(repository):
    commit(0.8)
    commit(0.9)
    subprocess.run(["git", "update-ref", "refs/exps/ab/cdef/loud-moth", "HEAD~1"], check=True)
    options = ["--parameters", "smollm2-135m=134.5e6", "--output", "drawn/scaling.png"]
    done = CliRunner().invoke(app, ["scaling", "HEAD", "loud-moth", *options], catch_exceptions=False)
    assert [line.split()[1] + " " + line.split()[-1] for line in done.output.splitlines()[1:]] == [
        "attention HEAD",
        "attention loud-moth",
    ]
    assert Path("drawn/scaling.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads(Path("drawn/scaling.json").read_text())["description"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["HEAD", "--parameters", "big"], "not a size: 'big'"), (["nowhere"], "no revision 'nowhere'")],
)
def test_a_mistake_is_told(repository, arguments, message):
    commit(0.8)
    with pytest.raises(UserError, match=message):
        CliRunner().invoke(app, ["scaling", *arguments], catch_exceptions=False)
