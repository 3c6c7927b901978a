"""What a stranger adds is in one place: each kind of thing is added to a copy of the project, and used.

Datasets, versions and probes, which are entries of YAML, are added in test_pipeline.py.
"""

import json
import shutil
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
PACKAGE = Path("src/models_under_pressure")

EXPERIMENT = '''"""Count the words of the dev sets."""

from pathlib import Path

from models_under_pressure.core.files import write_json
from models_under_pressure.core.paths import datasets_in_use
from models_under_pressure.core.records import read_records
from models_under_pressure.core.section import EXPERIMENTS, Section, read


class CountWords(Section):
    """Which words count."""

    letters: int
    """Letters of the shortest word."""


def command() -> None:
    """Count the words of the dev sets.

    Example: mup count_words
    """
    config = read("count_words", CountWords, EXPERIMENTS)
    counts = {dataset.name: run(config, dataset.path) for dataset in datasets_in_use("dev")}
    write_json(Path("data/experiments/count_words.json"), counts)


def run(config: CountWords, path: Path) -> int:
    """Words of a dataset."""
    return sum(len(word) >= config.letters for record in read_records(path) for word in record.text.split())
'''

FIGURE = '''"""Records of each dataset."""

import altair as alt

from models_under_pressure.figures import ResultFigure, theme

FIGURES = {
    "records": ResultFigure(
        rows=lambda results: [{"dataset": scores.dataset, "n": len(scores.ids)} for scores in results.scores],
        chart=lambda rows, results: theme.themed(
            theme.inline(rows).mark_bar().encode(x="n:Q", y="dataset:N"), title="Records of each dataset"
        ),
        finding=lambda rows, results: f"The largest dataset has {max(row['n'] for row in rows)} records.",
        template=lambda: alt.Chart(alt.InlineData(values="<DVC_METRIC_DATA>")).mark_bar().encode(x="n:Q", y="rev:N"),
    )
}
'''

STAGE = """
  count_words:
    desc: count the words of the dev sets
    wdir: ..
    cmd: ${mup} count_words
    deps:
      - ${src}/core
      - ${src}/experiments/count_words.py
      - data/datasets/dev
    params: [{experiments/params.yaml: [count_words]}]
    outs:
      - data/experiments/count_words.json: {remote: datasets}
"""


@pytest.fixture
def copy(finished, tmp_path):
    """A copy of the finished repository: what these tests leave behind no stage would remove."""
    shutil.copytree(finished.path, tmp_path / "project", symlinks=True)
    return type(finished)(tmp_path / "project", finished.environment)


def test_a_new_experiment_is_one_module_with_its_section_and_its_stage(copy):
    (copy.path / PACKAGE / "experiments/count_words.py").write_text(EXPERIMENT)
    with (copy.path / "experiments/dvc.yaml").open("a") as graph:
        graph.write(STAGE)
    with (copy.path / "experiments/params.yaml").open("a") as params:
        params.write("\ncount_words:\n  letters: 4\n")
    copy.dvc("repro", "--single-item", "experiments/dvc.yaml:count_words")
    found = json.loads((copy.path / "data/experiments/count_words.json").read_text())
    assert set(found) == {"mt_dev"}
    assert min(found.values()) > 10
    assert "Count the words of the dev sets" in copy.mup("--help").stdout


def test_a_new_probe_family_is_one_file(copy):
    families = copy.path / PACKAGE / "probes/families"
    (families / "ending.py").write_text(
        (families / "last.py").read_text().replace('"last"] = "last"', '"ending"] = "ending"')
    )
    copy.edit("params.yaml", lambda content: content["train"]["probes"].update(mine={"family": "ending"}))
    copy.mup("train", "mine")
    assert json.loads((copy.path / "data/probes/mine/seed_42/probe.json").read_text())["config"]["family"] == "ending"


def test_a_new_language_model_baseline_is_one_entry(copy):
    def add(content):
        content["prompt_baseline"]["models"]["other"] = dict(content["prompt_baseline"]["models"]["smollm2"])

    copy.edit("experiments/params.yaml", add)
    copy.dvc("repro", "--single-item", "experiments/dvc.yaml:prompt_baseline@other")
    assert (copy.path / "data/experiments/scores/prompted_other.parquet").exists()
    copy.dvc("repro", "--single-item", "experiments/dvc.yaml:evaluate_baselines")
    measured = json.loads((copy.path / "data/experiments/evaluate/mt_dev.json").read_text())
    assert "prompted_other" in measured["metrics"]


def test_a_new_figure_is_one_module(copy):
    (copy.path / PACKAGE / "figures/records.py").write_text(FIGURE)
    copy.mup("plot")
    rows = json.loads((copy.path / "plots/rows/records.json").read_text())
    assert {"aya_test", "mt_dev"} <= {row["dataset"] for row in rows}
    drawn = json.loads((copy.path / "plots/figures/results/records.json").read_text())
    assert drawn["description"].startswith("The largest dataset has")
    copy.edit("params.yaml", lambda content: content["report"]["figures"].insert(0, "records"))
    copy.mup("report")
    assert drawn["description"] in (copy.path / "plots/report.html").read_text()
