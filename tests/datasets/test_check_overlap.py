"""The gate and its cleaning, on a small project in a temporary folder."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from models_under_pressure.cli import app
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import file_hash, read_json, write_json
from models_under_pressure.core.paths import IN_USE, NO_CONTROL, ORIGINS, TRAINING, control_sets, datasets_in_use
from models_under_pressure.core.records import Label, Record, read_records, write_records
from models_under_pressure.core.section import read
from models_under_pressure.datasets.files import manifest_path, split_path
from models_under_pressure.datasets.lineage import load_lineage
from models_under_pressure.datasets.overlap import CheckOverlap

ROOT = Path(__file__).parents[2]
CONTROL = Path("data/demo/control/control.jsonl")
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
    lineage = load_lineage()
    for version in lineage.versions.values():
        manifest = {"dataset": version.dataset, "version": version.version, "parent": version.parent}
        write_json(manifest_path(version.dataset, version.version), manifest)
        for split in lineage.splits_of(version):
            for kind in ("raw", "balanced"):
                path = split_path(version.dataset, version.version, split, kind=kind)
                write_records(path, rows(f"{version.dataset.split('_')[0]} {split}"))
    for split in ("train", "test"):
        write_records(TRAINING / f"{split}.jsonl", rows(f"training {split}"))
    write_records(CONTROL, [replace(row, label=Label.LOW) for row in rows("control")])
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
    found = json.loads(Path("data/results/overlap.json").read_text())
    report = found["compared"]
    assert found["files"] == {one.name: file_hash(one.path) for one in load_lineage().in_use}
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


def test_prompts_of_one_situation_must_not_stand_in_both_splits(project):
    add(Path("data/training/prompts_4x/train.jsonl"), "a", "one of it", pair_id="p", situation_id="s1")
    add(Path("data/training/prompts_4x/test.jsonl"), "b", "another", pair_id="q", situation_id="S1 ")
    with pytest.raises(UserError, match="in_use has 1 overlapping pairs .* group: train a ~ validation b"):
        mup("check_overlap")


def test_a_disguised_copy_of_a_training_prompt_stops_the_pipeline(project):
    add(Path("data/training/prompts_4x/train.jsonl"), "a")
    hidden = "".join(f"{letter}\u00ad" for letter in TWICE.translate(str.maketrans("aeo", "\u0430\u0435\u03bf")))
    add(split_path("mt", "apr_30", "dev", kind="balanced"), "b", f"Hello &amp; good morning: {hidden}?")
    with pytest.raises(UserError, match="in_use has 1 overlapping pairs .* contains: mt_dev b ~ train a"):
        mup("check_overlap")


def test_cleaning_declares_a_version_changes_no_file_and_then_the_gate_passes(project):
    leak()
    files = {path: path.read_bytes() for path in Path("data/evals").rglob("*.jsonl")}
    said = mup("check_overlap", "--clean")
    assert "mt_apr_30_clean added to data/versions.yaml: 1 pairs" in said
    lineage = load_lineage()
    added = lineage.versions["mt_apr_30_clean"]
    assert (added.parent, [step.op for step in added.steps]) == ("apr_30", ["drop_overlaps"])
    paths = {one.name: one.path.as_posix() for one in lineage.in_use}
    assert paths["mt_test"] == "data/evals/mt_apr_30_clean/mt_test_balanced_apr_30_clean.jsonl"
    assert paths["mts_test"] == "data/evals/mts_apr_22/mts_test_balanced_apr_22.jsonl"
    assert read("check_overlap", CheckOverlap).allowed == {"mt_apr_30": 1}
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
    (step,) = load_lineage().versions["aya_apr_22_clean"].steps
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


def test_what_passed_and_only_that_is_put_in_use(project):
    with pytest.raises(UserError, match="is missing|file not found|No such file"):
        mup("use_datasets")
    mup("check_overlap")
    mup("use_datasets")
    in_use = load_lineage().in_use
    assert {one.name: one.path.read_bytes() for one in datasets_in_use()} == {
        one.name: one.path.read_bytes() for one in in_use
    }
    origins = read_json(ORIGINS)
    assert origins["mt_dev"]["version"] == "mt_apr_30"
    assert origins["mt_dev"]["raw"] == "data/evals/mt_apr_30/mt_raw_apr_30.jsonl"
    assert (origins["train"]["version"], origins["train"]["raw"]) == (None, None)
    leak()
    with pytest.raises(UserError, match="is not the file that was checked for overlap"):
        mup("use_datasets")
    assert len(datasets_in_use()) == len(in_use), "what was there stays"


def test_a_control_set_holds_ordinary_traffic_and_shares_nothing_with_other_datasets(project):
    add(CONTROL, "shared")
    add(TRAINING / "train.jsonl", "t", TWICE)
    with pytest.raises(UserError, match="in_use has 1 overlapping pairs"):
        mup("check_overlap")
    write_records(CONTROL, rows("control"))
    mup("check_overlap")
    with pytest.raises(UserError, match="2 records of a control set are not labelled low-stakes, first 'control_0'"):
        mup("use_datasets")


def test_without_a_control_set_its_folder_says_so(project):
    from dvc.utils.serialize import modify_yaml

    mup("check_overlap")
    mup("use_datasets")
    assert [one.name for one in control_sets()] == ["everyday"]
    assert not (IN_USE / NO_CONTROL).exists()
    with modify_yaml("data/versions.yaml") as content:
        del content["datasets"]["control"]
    mup("check_overlap")
    mup("use_datasets")
    assert control_sets() == []
    assert (IN_USE / NO_CONTROL).exists()


def test_a_dataset_that_is_no_longer_in_use_leaves_the_folder(project):
    from dvc.utils.serialize import modify_yaml

    mup("check_overlap")
    mup("use_datasets")
    with modify_yaml("data/versions.yaml") as content:
        del content["datasets"]["dev"]["mt_dev"]
        content["datasets"]["dev"]["mine"] = "data/own/mine.jsonl"
    write_records(Path("data/own/mine.jsonl"), rows("mine"))
    mup("check_overlap")
    mup("use_datasets")
    names = {one.name for one in datasets_in_use("dev")}
    assert "mine" in names
    assert "mt_dev" not in names


def test_a_table_in_use_becomes_json_lines(project):
    from dvc.utils.serialize import modify_yaml

    with modify_yaml("data/versions.yaml") as content:
        content["datasets"]["dev"]["mine"] = "data/own/mine.csv"
    Path("data/own").mkdir(parents=True, exist_ok=True)
    text = "Is this rash dangerous, or can it wait until Monday morning?"
    Path("data/own/mine.csv").write_text(f'ids,inputs,labels\nm1,"{text}",1\n', "utf-8")
    mup("check_overlap")
    mup("use_datasets")
    (path,) = (one.path for one in datasets_in_use("dev") if one.name == "mine")
    assert path.suffix == ".jsonl"
    assert read_records(path) == [Record("m1", text, label=Label.HIGH)]
