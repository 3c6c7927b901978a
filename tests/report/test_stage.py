"""Stage `report`: the page is made from what other stages left, and says which commit it belongs to."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from markupsafe import escape

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import write_json, write_jsonl
from models_under_pressure.core.paths import ORIGINS, OVERLAPS, RESULTS, TOKEN_SCORES, Dataset, probe_paths, scores_path
from models_under_pressure.core.records import Label, Record, write_records
from models_under_pressure.evaluation.limits import LIMITS
from models_under_pressure.evaluation.report import EvaluateConfig
from models_under_pressure.evaluation.scores import ScoreList, write_scores
from models_under_pressure.probes.calibration import control_table
from models_under_pressure.probes.families import FAMILIES
from models_under_pressure.probes.probe import Probe, save_probe
from models_under_pressure.report.content import commit_of
from models_under_pressure.stages import evaluate, plot, report

DATASETS = [Dataset("train", "train"), Dataset("mt_dev", "dev"), Dataset("mt_test", "test")]
SETTINGS = {"figures": ["auroc", "roc"], "errors": 1, "errors_of": ["mean"]}
CONFIG = EvaluateConfig(resamples=100, groups={"language": ("language",)}, length_bins=3)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with what other stages leave."""
    folder = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make_results()
    return folder


@pytest.fixture(autouse=True)
def results(made, tmp_path, monkeypatch):
    """Work in a copy of that folder."""
    shutil.copytree(made, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")


def make_results():
    lists = []
    for number, dataset in enumerate(DATASETS):
        name = dataset.name
        rows = [
            Record(
                f"{n:03}",
                f"{name} text {n} " * (1 + n % 5),
                Label.HIGH if n % 2 else Label.LOW,
                scale_label=9 if n % 2 else 1,
                scale_label_explanation=f"reason of {name} {n}",
                scale_label_model="demo-authors",
                fields={"language": "en" if n < 30 else "de"},
            )
            for n in range(60)
        ]
        write_records(dataset.path, rows)
        labels = np.array([row.is_high for row in rows])
        logits = np.random.default_rng(number).normal(size=60) + 1.5 * labels - 0.75
        ids = tuple(row.id for row in rows)
        lists += [
            ScoreList(name, probe, 42, ids, ids, labels, logits * scale, 1 / (1 + np.exp(-logits)))
            for probe, scale in (("mean", 1), ("attention", 2))
        ]
    write_scores(scores_path("probes"), lists)
    write_scores(scores_path("text_baseline"), [])
    files = [scores_path("probes")]
    stored = {("mean", 42): {0.01: 1.25}}
    evaluate.run(DATASETS, files=files, root=RESULTS, config=CONFIG, seed=0, stored=stored)
    write_json(OVERLAPS, {"compared": {"mt": {"pairs": [{}], "rows": {"dev": 3}}}, "files": {}})
    write_json(ORIGINS, {one.name: {"version": None if one.name == "train" else "mt_apr_30"} for one in DATASETS})
    origin = {"model": "org/model", "revision": "0123abcd4567ef", "layer": 16, "hook_point": "residual"}
    save_probe(probe_from(origin), probe_paths("mean", 42, 1)[0])
    row = {"ids": "003", "dataset": "mt_test", "probe": "mean", "choices": ["highest"], "label": "high-stakes"}
    tokens = {"texts": ["urgent"], "roles": ["user"], "logits": [1.5], "contributions": [1.5], "seen": ["user"]}
    write_jsonl(TOKEN_SCORES, [row | tokens | {"stakes": 9, "logit": 1.5, "probability": 0.82}])
    plot.run(DATASETS, files=files, probes=["mean"], closely=["mean"], measured=CONFIG)


def probe_from(origin):
    control = control_table(np.linspace(-3, 1.24, 400), np.array([0.0, 2.0]), ())
    weights = {"projection": np.ones((2, 1)), "bias": np.zeros(1)}
    config = FAMILIES["mean_logistic"].config(family="mean_logistic")
    return Probe(config, weights, 42, origin, thresholds=control)


def run(**changes):
    config = report.ReportParams(**SETTINGS | changes)
    report.run(DATASETS, config=config, probes=["mean"], params={"probe.layer": 16}, seed=42)
    return report.PAGE.read_text()


def test_the_page_shows_results_figures_groups_versions_errors_and_provenance():
    page = run()
    for heading in ("Results", "Figures", "By group", "Data versions", "Worst errors", "Provenance"):
        assert f'-heading">{heading}</h2>' in page
    assert "not results of the paper" in page
    assert "AUROC in parts of mt_dev" in page
    assert "AUROC in parts of train" not in page
    assert page.count('class="error"') == 2
    assert "reason of mt_test" in page
    assert "0123abcd4567ef" in page
    assert "1 pairs of records in 1 comparisons" in page
    assert "probe.layer" in page


def test_the_page_shows_the_rates_at_the_stored_threshold_of_the_methods_that_have_one():
    page = run()
    assert "False positives at the stored threshold for 1 %" in page
    table = page.split("True positives at the stored threshold for 1 %</caption>")[1].split("</table>")[0]
    assert table.count('scope="col"') == 4, "dataset, n, high-stakes, and the probe that has a threshold"
    assert "mt_test" in table


def test_each_probe_has_a_card_on_the_page_and_beside_its_readme():
    page = run(licence="MIT")
    card = Path("data/results/cards/mean.md").read_text()
    readme = (probe_paths("mean", 42, 1)[0] / "README.md").read_text()
    assert card.startswith(readme.rstrip())
    for told in ("refused: needs 2,995 conversations, has 400", "at most 0.746 % at 95 % confidence"):
        assert told in page
        assert told in card
    for limit in LIMITS:
        assert escape(limit) in page
        assert limit in card
    assert "| Licence | MIT |" in card
    assert "| mt_test | test | 60 | 30 |" in card
    assert "layer 16 (residual)" in card


def test_a_figure_is_titled_and_described_by_its_own_file():
    write_json(
        Path("plots/figures/mine_too/mine.json"), {"title": {"text": "My finding"}, "description": "All is well."}
    )
    page = run(figures=["mine"])
    assert "My finding" in page
    assert "All is well." in page


def test_a_figure_without_a_title_or_without_a_file_is_named():
    write_json(Path("plots/figures/mine_too/mine.json"), {"mark": "bar"})
    with pytest.raises(UserError, match=r"plots/figures/mine_too/mine\.json.*no title"):
        run(figures=["mine"])
    with pytest.raises(UserError, match="plots/figures: no figure 'missing'"):
        run(figures=["missing"])


def test_figures_of_records_show_only_the_names_asked_for():
    assert {row["probe"] for row in json.loads(Path("plots/rows/roc.json").read_text())} == {"mean"}
    assert {row["probe"] for row in json.loads(Path("plots/rows/auroc.json").read_text())} == {"mean", "attention"}


def test_the_same_results_give_the_same_page():
    assert run() == run()


def git(*arguments):
    identity = ("-c", "user.name=t", "-c", "user.email=t@t")
    return subprocess.run(["git", *identity, *arguments], check=True, capture_output=True, text=True).stdout.strip()


def test_the_commit_is_the_one_that_changed_the_inputs_not_the_one_that_holds_the_results():
    assert commit_of() == "none (not committed)"
    git("init", "-q")
    Path("params.yaml").write_text("a: 1\n")
    git("add", "params.yaml")
    git("commit", "-qm", "inputs")
    inputs = git("rev-parse", "HEAD")
    Path("results.json").write_text("{}")
    git("add", "results.json")
    git("commit", "-qm", "results")
    assert commit_of().startswith(f"{inputs} (")
    Path("params.yaml").write_text("a: 2\n")
    assert commit_of().endswith(", with changes that are not committed")


def test_a_shallow_clone_does_not_guess_its_commit(tmp_path, monkeypatch):
    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "a")
    git("clone", "-q", "--depth", "1", f"file://{Path.cwd()}", str(tmp_path / "clone"))
    monkeypatch.chdir(tmp_path / "clone")
    assert commit_of() == "unknown (a shallow clone)"


def test_the_page_holds_the_heat_maps():
    assert "alone +1.500, adds +1.5000" in run()
