"""The gate and its cleaning, on a small project in a temporary folder."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from models_under_pressure.cli import app
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.records import Label, Record, read_records, write_records
from models_under_pressure.datasets.files import split_path
from models_under_pressure.params.dataset_files import dataset_files
from models_under_pressure.params.lineage import load_lineage
from models_under_pressure.params.schema import load_params

ROOT = Path(__file__).parents[2]
TWICE = "may I take both pills before the operation tomorrow morning or not"


def rows(prefix):
    return [
        Record(f"{prefix}_{n}", f"{prefix} says {word}", label)
        for n, (word, label) in enumerate(
            [("one", Label.HIGH), ("two", Label.LOW), ("three", Label.HIGH), ("four", Label.LOW)]
        )
    ]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Every file of the lineage, small, no two rows alike between dev and test."""
    for name in ("params.yaml", "data/versions.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for key, parts in dataset_files(load_lineage()).items():
        for part, path in parts.items():
            write_records(path, rows(f"{key.split('_')[0]} {part.split('_')[0]}"))
    return tmp_path


def add(path, id_, text=TWICE, **fields):
    write_records(path, [*read_records(path), Record(id_, text, Label.LOW, fields=fields)])


def mup(*arguments):
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def leak(version="apr_30", kinds=("raw", "balanced")):
    for kind in kinds:
        add(split_path("mt", version, "dev", kind=kind), "d")
        add(split_path("mt", version, "test", kind=kind), "t", TWICE.upper())


def test_sets_that_share_nothing_pass_and_the_report_counts_the_rows(project):
    mup("check_overlap")
    report = json.loads(Path("data/results/overlap.json").read_text())
    assert report["mt_apr_30"] == {"rows": {"dev": 4, "test": 4}, "pairs": []}
    assert report["in_use"]["rows"]["mt_dev"] == 4


def test_overlap_stops_the_pipeline_lists_the_pairs_and_leaves_the_last_report(project):
    mup("check_overlap")
    before = Path("data/results/overlap.json").read_bytes()
    leak()
    with pytest.raises(UserError, match=r"mt_apr_30 has 1 overlapping pairs \(0 allowed\), first text: dev d ~ test t"):
        mup("check_overlap")
    refused = json.loads(Path("data/results/overlap_refused.json").read_text())
    assert set(refused) == {"mt_apr_30", "in_use"}
    assert refused["mt_apr_30"]["pairs"][0]["right_id"] == "t"
    assert Path("data/results/overlap.json").read_bytes() == before


def test_a_number_of_pairs_accepted_by_name_passes_and_one_more_does_not(project):
    leak(kinds=("raw",))
    allow(mt_apr_30=1)
    mup("check_overlap")
    add(split_path("mt", "apr_30", "test"), "t2")
    with pytest.raises(UserError, match=r"2 overlapping pairs \(1 allowed\)"):
        mup("check_overlap")


def test_a_pair_of_training_prompts_must_not_stand_in_both_splits(project):
    add(Path("data/training/prompts_4x/train.jsonl"), "a", "one half of it", pair_id="p")
    add(Path("data/training/prompts_4x/test.jsonl"), "b", "the other half", pair_id="p")
    with pytest.raises(UserError, match="in_use has 1 overlapping pairs .* group: train a ~ validation b"):
        mup("check_overlap")


def test_cleaning_declares_a_version_changes_no_file_and_then_the_gate_passes(project):
    leak()
    files = {path: path.read_bytes() for path in Path("data/evals").rglob("*.jsonl")}
    said = mup("check_overlap", "--clean")
    assert "mt_apr_30_clean added to data/versions.yaml: 1 pairs" in said
    lineage = load_lineage()
    added = lineage.versions["mt_apr_30_clean"]
    assert (added.parent, [step.op for step in added.steps]) == ("apr_30", ["drop_overlaps"])
    assert lineage.datasets["mt_test"].path == "data/evals/test/mt_test_balanced_apr_30_clean.jsonl"
    assert lineage.datasets["mts_test"].path == "data/evals/test/mts_test_balanced_apr_22.jsonl"
    assert load_params().check_overlap.allowed == {"mt_apr_30": 1}
    assert files == {path: path.read_bytes() for path in Path("data/evals").rglob("*.jsonl")}
    mup("relabel", "mt_apr_30_clean")
    assert "t" not in {record.id for record in read_records(split_path("mt", "apr_30_clean", "test"))}
    mup("check_overlap")
    assert "nothing to clean" in mup("check_overlap", "--clean")


def test_a_row_that_another_dataset_has_is_dropped_by_name_from_the_test_set(project):
    add(Path("data/training/prompts_4x/train.jsonl"), "p1")
    for kind in ("raw", "balanced"):
        add(split_path("aya", "apr_22", "test", kind=kind), "7", f"Please: {TWICE}")
    mup("check_overlap", "--clean")
    (step,) = load_lineage().test_versions["aya_apr_22_clean"].steps
    assert (step.op, step.ids, step.reason) == ("drop_rows", ("7",), "overlaps (contains) with train p1")
    mup("relabel", "aya_apr_22_clean")
    mup("check_overlap")


def test_a_version_that_others_are_made_from_is_accepted_and_not_cleaned(project):
    leak("mar_20")
    assert "mt_mar_20 stays as it is: its 1 pairs are accepted" in mup("check_overlap", "--clean")
    assert "mt_mar_20_clean" not in load_lineage().versions


def test_training_splits_that_overlap_cannot_be_cleaned_and_nothing_is_declared(project):
    add(Path("data/training/prompts_4x/train.jsonl"), "a")
    add(Path("data/training/prompts_4x/test.jsonl"), "b")
    before = Path("data/versions.yaml").read_bytes()
    with pytest.raises(UserError, match="1 pairs are of sets that are no version .*train a ~ validation b"):
        mup("check_overlap", "--clean")
    assert Path("data/versions.yaml").read_bytes() == before
    leak()
    allow(in_use=1)
    assert "mt_apr_30_clean added" in mup("check_overlap", "--clean")


def allow(**names):
    from dvc.utils.serialize import modify_yaml

    with modify_yaml("params.yaml") as content:
        content["check_overlap"]["allowed"] = names
