"""`dvc plots diff` overlays two revisions with the templates that are committed in .dvc/plots."""

import json
import subprocess
from pathlib import Path

import pytest
import vl_convert
from ruamel.yaml import YAML

from models_under_pressure.figures import ResultFigure, Results, declared
from models_under_pressure.figures.render import write_rows, write_templates

ROOT = Path(__file__).parents[2]
FIGURES = declared(ResultFigure)
AXES = {
    "auroc": ("auroc", "probe"),
    "tpr": ("tpr", "probe"),
    "roc": ("fpr", "tpr"),
    "precision_recall": ("recall", "precision"),
    "score_histogram": ("low", "share"),
    "reliability": ("forecast", "observed"),
    "confusion": ("share", "label"),
    "auroc_by_length": ("auroc", "bin"),
}


def test_the_committed_templates_are_the_ones_that_the_code_writes(tmp_path):
    write_templates(tmp_path)
    assert sorted(path.stem for path in tmp_path.iterdir()) == sorted(FIGURES)
    for path in tmp_path.iterdir():
        committed = ROOT / ".dvc" / "plots" / path.name
        assert committed.read_bytes() == path.read_bytes(), "write_templates(Path('.dvc/plots')) and commit"


def test_rows_are_written_one_a_line(tmp_path):
    rows = [{"b": 1.5, "a": "<ü>"}, {"a": "x", "b": 2}]
    write_rows(rows, tmp_path / "rows.json")
    assert json.loads((tmp_path / "rows.json").read_text()) == rows
    assert len((tmp_path / "rows.json").read_text().splitlines()) == 4
    write_rows([], tmp_path / "rows.json")
    assert json.loads((tmp_path / "rows.json").read_text()) == []


def test_every_figure_has_a_template_its_rows_an_entry_and_its_place_in_the_report():
    graph = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())
    params = YAML(typ="safe").load((ROOT / "params.yaml").read_text())
    assert sorted(FIGURES) == sorted(AXES)
    entries = {next(iter(entry)): next(iter(entry.values())) for entry in graph["plots"]}
    assert entries == {f"plots/rows/{name}.json": {"template": name, "x": x, "y": y} for name, (x, y) in AXES.items()}
    outs = {next(iter(out)) for out in graph["stages"]["plot"]["outs"]}
    assert outs == {"plots/figures/results", "plots/rows"}
    assert set(FIGURES) <= set(params["report"]["figures"])


@pytest.fixture
def repository(tmp_path, monkeypatch, warm_path):
    monkeypatch.chdir(tmp_path)
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "test")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "test@example.com")
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / ".site"))
    monkeypatch.setenv("PATH", warm_path)
    run("git", "init", "-q")
    run("python", "-m", "dvc", "init", "-q")
    return tmp_path


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.slow
def test_dvc_overlays_two_revisions_of_every_figure(repository, lists, metrics_rows):
    def write(number):
        kept = [scores for scores in lists if scores.dataset != "one_class"][number:]
        results = Results(
            metrics={row["dataset"]: {row["probe"]: row} for row in metrics_rows[number:]},
            purposes={scores.dataset: "dev" for scores in kept},
            scores=kept,
            lengths={scores.dataset: {id_: int(id_) for id_ in scores.ids} for scores in kept},
        )
        for name, drawing in FIGURES.items():
            write_rows(drawing.rows(results), Path(f"plots/{name}.json"))

    write_templates(Path(".dvc/plots"))
    lines = ["plots:"]
    for name, (x, y) in AXES.items():
        lines += [f"  - plots/{name}.json:", f"      template: {name}", f"      x: {x}", f"      y: {y}"]
    Path("dvc.yaml").write_text("\n".join(lines) + "\n")
    write(0)
    run("git", "add", "-A")
    run("git", "commit", "-qm", "before")
    write(1)
    drawn = json.loads(run("python", "-m", "dvc", "plots", "diff", "HEAD", "--json"))
    assert not drawn.get("errors")
    assert len(drawn["data"]) == len(FIGURES)
    for entries in drawn["data"].values():
        (entry,) = entries
        assert set(entry["revisions"]) == {"HEAD", "workspace"}
        content = entry["content"]
        content = json.loads(content) if isinstance(content, str) else content
        rows = next(iter(content["datasets"].values()))
        assert {row["rev"] for row in rows} == {"HEAD", "workspace"}
        # DVC's page draws with Vega-Lite 5.
        assert vl_convert.vegalite_to_png(content, vl_version="5.8").startswith(b"\x89PNG")
