"""The demo corpus carries every oddity of the real data, and a replay of it is the same to the byte."""

import hashlib
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from models_under_pressure.cli import app
from models_under_pressure.core.files import read_json, read_jsonl
from models_under_pressure.core.tables import read_csv
from models_under_pressure.datasets.lineage import load_lineage
from models_under_pressure.datasets.sources import PARSERS
from models_under_pressure.datasets.steps.clinical import speaker_turns

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "data/demo"


def table(source, name):
    return [row for _, row in read_csv(DEMO / source / name, ())]


def test_statements_are_missing_in_both_ways_and_an_id_stands_twice():
    rows = table("mental_health", "combined_data.csv")
    assert {"nan", "#NAME?"} <= {row["statement"] for row in rows}
    assert len({row["id"] for row in rows}) < len(rows)


def test_tools_answer_and_a_system_prompt_is_not_english():
    rows = read_json(DEMO / "toolace/data.json")
    assert any(turn["from"] == "tool" for row in rows for turn in row["conversations"])
    assert any(sum("\u4e00" <= letter <= "\u9fff" for letter in row["system"]) > 20 for row in rows)
    assert any("Should you decide" not in row["system"] and row["system"].isascii() for row in rows)


def test_dialogues_have_guests_times_at_a_lines_start_and_dos_line_ends():
    records = PARSERS["mts"](DEMO / "mts").records
    dialogues = [record.fields["dialogue"] for record in records]
    speakers = {speaker for dialogue in dialogues for speaker, _ in speaker_turns(dialogue)}
    assert {"Doctor", "Patient", "Guest_family", "Guest_clinician"} <= speakers
    assert any("\n10:30" in dialogue for dialogue in dialogues)
    assert any("\r\n" in dialogue for dialogue in dialogues)
    assert {"test_chat_0", "test_sum_0"} <= {record.id for record in records}


def test_one_transcription_stands_under_two_specialties_and_one_is_missing():
    rows = table("mt", "mtsamples.csv")
    pairs = {(row["transcription"], row["medical_specialty"]) for row in rows if row["transcription"]}
    assert len({text for text, _ in pairs}) < len(pairs)
    assert any(not row["transcription"] for row in rows)
    assert any(0 < len(row["transcription"]) < len(row["description"]) for row in rows)


def test_chosen_and_rejected_are_siblings_and_a_speaker_is_misspelt():
    rows = [row for _, row in read_jsonl(DEMO / "anthropic/train.jsonl")]
    assert any("\n\nHumans:" in row["chosen"] + row["rejected"] for row in rows)
    records = PARSERS["anthropic"](DEMO / "anthropic").records
    assert len({record.group for record in records}) < len(records) / 2 + 1


def test_red_teaming_prompts_come_in_four_languages():
    assert len({row["language"] for row in table("aya", "aya_redteaming_dataset.csv")}) == 4


@pytest.mark.slow
def test_everything_made_twice_in_replay_is_the_same_to_the_byte(tmp_path, monkeypatch):
    monkeypatch.setenv("MUP_LEDGER", str(tmp_path / "ledger.sqlite"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    first, second = (make_everything(tmp_path / name, monkeypatch) for name in ("one", "two"))
    assert first == second
    assert len(first) > 120


def make_everything(folder, monkeypatch):
    """Every version on the demo's recorded replies; path -> hash of each file made."""
    shutil.copytree(DEMO, folder / "data/demo")
    for name in ("params.yaml", "data/versions.yaml"):
        shutil.copy(ROOT / name, folder / name)
    monkeypatch.chdir(folder)
    lineage = load_lineage()
    sources = list(lineage.sources)
    commands = [("fetch", name) for name in (*sources, "deployment")] + [("parse", name) for name in sources]
    commands += [("relabel", key) for key in lineage.versions]
    commands += [("label_deployment",)]
    for command in commands:
        result = CliRunner().invoke(app, list(command), catch_exceptions=False)
        assert result.exit_code == 0, result.output
    made = [path for path in folder.rglob("*") if path.is_file() and "data/demo" not in path.as_posix()]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in made}
