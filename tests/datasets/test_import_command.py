"""`mup datasets import` writes records tracked by DVC and their entry, or nothing."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from own_tables import TWO, mup, snapshot, table

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.records import Label, read_records, write_records
from models_under_pressure.datasets.lineage import load_lineage


def test_a_dry_run_writes_nothing_and_a_run_writes_records_tracked_by_dvc_and_the_entry(project):
    table(project, TWO)
    before = snapshot(project)
    assert "rows           2 read, 2 kept" in mup("table.csv", "--as", "mine", "--dry-run")
    assert snapshot(project) == before
    told = mup("table.csv", "--as", "mine", "--purpose", "dev")
    assert "classes        0 = low-stakes, 1 = high-stakes" in told
    assert "written        data/own/mine.jsonl, in use for dev: high-stakes 1, low-stakes 1" in told
    assert load_lineage().datasets["dev"]["mine"] == "data/own/mine.jsonl"
    sidecar = Path("data/own/mine.jsonl.dvc").read_text()
    assert "remote: datasets" in sidecar
    assert f"sha256: {hashlib.sha256(TWO.encode()).hexdigest()}" in sidecar
    from dvc.repo import Repo

    (stage,) = Repo().index.stages  # found from the root: `dvc push` sends it
    assert stage.addressing == "data/own/mine.jsonl.dvc"
    assert not Repo().status()
    after = snapshot(project)
    mup("table.csv", "--as", "mine", "--purpose", "dev")  # the same again changes nothing
    changed = {path for path, content in snapshot(project).items() if after.get(path) != content}
    assert not {path for path in changed if ".dvc/tmp" not in str(path) and ".site" not in str(path)}
    table(project, TWO.replace("blue", "green"))
    with pytest.raises(UserError, match=r"other content: its sha256 was .* and is .*--replace"):
        mup("table.csv", "--as", "mine")
    mup("table.csv", "--as", "mine", "--replace")
    assert "green" in Path("data/own/mine.jsonl").read_text()


def test_a_run_that_fails_on_its_way_leaves_everything_as_it_was(project):
    table(project, TWO)
    mup("table.csv", "--as", "mine")
    before = snapshot(project / "data")
    table(project, TWO.replace("blue", "green"))
    with pytest.raises(UserError, match="'mine' is a dev and a test dataset: rename one"):
        mup("table.csv", "--as", "mine", "--purpose", "test", "--replace")
    assert snapshot(project / "data") == before
    shutil.rmtree(".dvc")
    with pytest.raises(UserError, match=r"`dvc add` failed \(you are not inside of a DVC repository"):
        mup("table.csv", "--as", "mine", "--replace")
    assert snapshot(project / "data") == before


def test_rows_that_cannot_be_used_stop_the_import_unless_they_are_allowed(project):
    table(project, TWO + "a third text,\n")
    with pytest.raises(UserError, match="1 of 3 rows cannot be used; nothing is written"):
        mup("table.csv", "--as", "mine")
    assert not Path("data/own/mine.jsonl").exists()
    mup("table.csv", "--as", "mine", "--allow-refused")
    assert len(read_records(Path("data/own/mine.jsonl"))) == 2
    assert "it has no label.: 1" in Path("data/own/mine.jsonl.dvc").read_text()


def test_one_table_becomes_all_datasets_in_use(project):
    lines = [{"text": f"text number {n}", "label": n % 2} for n in range(200)]
    table(project, "\n".join(map(json.dumps, lines)), "t.jsonl")
    mup("t.jsonl", "--as", "own", "--purpose", "train=0.4,validation=0.2,dev=0.2,test=0.2", "--alone")
    with pytest.raises(UserError, match=r"own_dev.jsonl: of both classes it would get (none|\w+-stakes 1)"):
        mup("t.jsonl", "--as", "own", "--purpose", "train=0.998,dev=0.002", "--replace")
    found = load_lineage().in_use
    assert [(one.name, one.purpose) for one in found] == [
        (f"own_{purpose}", purpose) for purpose in ("train", "validation", "dev", "test")
    ]
    assert sum(len(read_records(one.path)) for one in found) == 200


def test_ordinary_traffic_needs_no_labels_and_takes_the_place_of_the_control_set(project):
    table(project, "text,label,labels\na blue text,1,x\nanother red text,,y\n")
    told = mup("table.csv", "--as", "traffic", "--purpose", "control")
    assert "label = none: every row is taken as ordinary traffic" in told
    assert "written        data/own/traffic.jsonl, in use for control: low-stakes 2" in told
    rows = read_records(Path("data/own/traffic.jsonl"))
    assert [row.label for row in rows] == [Label.LOW, Label.LOW]
    assert [row.fields["original_labels"] for row in rows] == ["x", "y"]
    assert load_lineage().datasets["control"] == {"traffic": "data/own/traffic.jsonl"}
    with pytest.raises(UserError, match="whatever a column says"):
        mup("table.csv", "--as", "traffic", "--purpose", "control", "--positive", "1")
    with pytest.raises(UserError, match="not a share of a labelled table"):
        mup("table.csv", "--as", "traffic", "--purpose", "control=0.5,dev=0.5")


def test_overlaps_with_datasets_in_use_for_other_purposes_are_told(project):
    write_records(Path("data/training/prompts_4x/train.jsonl"), read_records(table(project, TRAIN, "train.jsonl")))
    table(project, TWO)
    assert "overlaps       mine: train 1 (pairs" in mup("table.csv", "--as", "mine", "--dry-run")
    assert "overlaps       mine: none" in mup("table.csv", "--as", "mine", "--purpose", "train", "--dry-run")
    told = json.loads(mup("table.csv", "--as", "mine", "--dry-run", "--format", "json"))
    assert told["overlaps"] == {"mine": {"train": 1}}


TRAIN = '{"ids": "x", "inputs": "May I take both pills?", "labels": "high-stakes"}\n'


@pytest.mark.parametrize("purpose", ["dve", "dev=0.5", "dev=0.5,test=0.6", "dev=,test=1", "dev=x"])
def test_a_purpose_that_does_not_exist_is_told(project, purpose):
    table(project, TWO)
    with pytest.raises(UserError, match="is no purpose"):
        mup("table.csv", "--as", "mine", "--purpose", purpose)
    with pytest.raises(UserError, match="is no word"):
        mup("table.csv", "--as", "../mine")
