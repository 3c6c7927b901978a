"""The stages that make datasets: a bad input is one clear error, and what was there before stays."""

import json
import shutil
from pathlib import Path

import pytest
from askers import Asker
from stakes import LABELLER, STAKES, StakesReply

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.records import Label, Record, read_records, write_records
from models_under_pressure.datasets.files import manifest_path, split_path
from models_under_pressure.datasets.lineage import Source
from models_under_pressure.datasets.recipe import Version
from models_under_pressure.llm.ask import Answer
from models_under_pressure.stages import label_deployment, parse, relabel

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A parent version of forty rows, and a version that an earlier run made."""
    monkeypatch.chdir(tmp_path)
    for split in ("dev", "test"):
        write_records(split_path("mt", "apr_16", split), [labelled(f"{split}_{n}", n) for n in range(20)])
    run([{"op": "relabel"}])


def labelled(id_, number):
    return Record(id_, f"note {id_}", Label.HIGH if number % 2 else Label.LOW)


def run(steps, ask=None):
    version = Version(dataset="mt", version="apr_30", parent="apr_16", steps=steps)
    relabel.run(version, splits=("dev", "test"), label=LABELLER, ask=ask or Asker(), seed=1)


def files():
    return {path: path.read_bytes() for path in Path("data").rglob("*") if path.is_file()}


def all_ambiguous(asks, /):
    return [Answer(StakesReply(explanation="who knows", stakes=5, confidence=9), "m") for _ in asks]


@pytest.mark.parametrize(
    ("steps", "ask", "problem"),
    [
        ([{"op": "relabel"}], all_ambiguous, r"mt_apr_30, dev split: no balanced set can be drawn"),
        ([{"op": "move_last", "count": 21}], None, "asks for 21 rows, but the test split has 20"),
        ([{"op": "move_last", "count": 20}], None, r"mt_apr_30, test split: no balanced set .* \(of 0 rows\)"),
        ([{"op": "drop_rows", "ids": ["dev_99"], "reason": "bad"}], None, "names 1 ids that are not there"),
    ],
)
def test_a_recipe_that_fails_overwrites_nothing(steps, ask, problem):
    before = files()
    with pytest.raises(UserError, match=problem):
        run(steps, ask)
    assert files() == before


def test_a_crash_while_files_are_written_leaves_whole_files_only(monkeypatch):
    from models_under_pressure.core import records

    before = files()

    def broken(record):
        raise OSError("no space left")

    monkeypatch.setattr(records, "to_row", broken)
    with pytest.raises(OSError, match="no space"):
        run([{"op": "relabel", "method": "rubric"}])
    assert files() == before


def test_rows_without_an_answer_are_named_in_the_manifest():
    run([{"op": "relabel"}], Asker(fails={"dev_3"}))
    (step,) = json.loads(manifest_path("mt", "apr_30").read_text())["steps"]
    assert step["dropped"] == [{"id": "dev_3", "reason": "no answer: timeout"}]
    assert step["rows_in"] == {"dev": 20, "test": 20}


def test_a_manifest_holds_the_wording_that_made_the_version():
    run([{"op": "add_system_prompt", "text": "You’re kind."}])
    (step,) = json.loads(manifest_path("mt", "apr_30").read_text())["steps"]
    assert step["step"] == {"op": "add_system_prompt", "text": "You’re kind."}


def test_a_source_with_other_columns_leaves_the_parsed_one():
    shutil.copytree(ROOT / "data/demo/mt", "data/raw/mt")
    parse.run("mt", config=Source(test_fraction=0.5), seed=1)
    before = files()
    table = Path("data/raw/mt/mtsamples.csv")
    table.write_text(table.read_text().replace("transcription", "text", 1))
    with pytest.raises(UserError, match=r"columns \['transcription'\] are missing"):
        parse.run("mt", config=Source(test_fraction=0.5), seed=1)
    assert {path: body for path, body in files().items() if path != table} == {
        path: body for path, body in before.items() if path != table
    }


def test_merge_markers_in_a_table_are_an_error_and_no_rows():
    shutil.copytree(ROOT / "data/demo/mt", "data/raw/mt")
    table = Path("data/raw/mt/mtsamples.csv")
    head, rest = table.read_text().split("\n", 1)
    table.write_text(f"{head}\n<<<<<<< HEAD\n{rest}")
    with pytest.raises(UserError, match="row 1 .*wrong number of fields"):
        parse.run("mt", config=Source(test_fraction=0.5), seed=1)


def test_deployment_pairs_of_three_contexts_have_ids_of_their_own_in_combined():
    shutil.copytree(ROOT / "data/demo/deployment", "data/raw/deployment")
    label_deployment.run(STAKES.deployment, label=LABELLER, ask=as_meant)
    sets = {path.stem: read_records(path) for path in Path("data/deployment").glob("*.jsonl")}
    combined = sets.pop("combined")
    assert len(combined) == sum(map(len, sets.values())) == 96
    assert len({record.group for record in combined}) == 48
    for name, records in sets.items():
        assert {record.fields["context"] for record in records} == {name}


def test_a_deployment_row_without_an_answer_is_named_and_its_partner_goes_too():
    shutil.copytree(ROOT / "data/demo/deployment", "data/raw/deployment")

    def ask(asks, /):
        return [
            Asker(fails={"medical_hs_1"})([one])[0] if one.record_id == "medical_hs_1" else as_meant([one])[0]
            for one in asks
        ]

    label_deployment.run(STAKES.deployment, label=LABELLER, ask=ask)
    dropped = json.loads(Path("data/deployment/report.json").read_text())["dropped"]["medical"]
    assert [(row["id"], row["reason"].split(":")[0]) for row in dropped] == [
        ("medical_hs_1", "no answer"),
        ("medical_ls_1", "pair medical_1"),
    ]


def as_meant(asks, /):
    scores = {"hs": 9, "ls": 2}
    return [
        Answer(StakesReply(explanation="as meant", stakes=scores[one.record_id.split("_")[1]], confidence=9), "m")
        for one in asks
    ]
