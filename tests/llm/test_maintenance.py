import json
import sqlite3
import time

import pytest
from fault_server import REFUSAL, Act, FaultServer
from typer.testing import CliRunner

from models_under_pressure.core.files import json_line
from models_under_pressure.llm.answering import ask_all
from models_under_pressure.llm.config import Price
from models_under_pressure.llm.reply import from_row, to_row
from models_under_pressure.tools.replies import app, export_ledger, prune_ledger, replies_stats, verify_replies

PRICES = {"gpt-4o": Price(input=2.5, output=10), "gpt": Price(input=99, output=99)}


@pytest.fixture
def filled(question, config, store):
    """A store with ten paid replies, six of them in its record file, one a refusal."""
    with FaultServer(lambda row, _: REFUSAL if row == "0" else Act()) as server:
        ask_all([question(i) for i in range(10)], config=config(server), store=store(), what="t")
    one = store()
    ask_all([question(i) for i in range(6)], config=config(), store=one, what="t")
    one.write_record_file()
    return one


def test_stats_count_replies_tokens_and_cost_of_every_place(filled):
    file, ledger = replies_stats([filled.record_file], filled.ledger, prices=PRICES)
    assert (file.replies, ledger.replies) == (6, 10)
    assert file.models == {"gpt-4o-2024-08-06": 6}
    assert ledger.without_answer == {"refusal": 1}
    assert (ledger.input_tokens, ledger.output_tokens) == (1000, 200)
    assert ledger.cost_usd == pytest.approx(10 * (100 * 2.5 + 20 * 10) / 1e6)
    assert replies_stats([], filled.ledger, prices={})[0].unpriced == 10


def test_a_sound_store_has_no_problems(filled):
    assert verify_replies([filled.record_file], filled.ledger) == []


def test_verify_names_each_kind_of_damage(filled):
    lines = filled.record_file.read_text().splitlines(keepends=True)
    row = json.loads(lines[0])
    altered = json.dumps(row | {"content": "other"}, ensure_ascii=False) + "\n"
    forged = json_line(to_row(row["key"], from_row(row | {"content": "other"}))) + "\n"
    for content, problem in (
        ("".join(reversed(lines)), "not sorted"),
        (altered + "".join(lines[1:]), ":1: the reply was altered"),
        (forged + "".join(lines[1:]), ":1: the ledger holds another reply"),
        (lines[0].replace('"model": ', '"model":') + lines[1], ":1: line is not as it would be written"),
        (lines[0] + "nonsense\n", ":2: line is not a recorded reply"),
    ):
        filled.record_file.write_text(content)
        found = verify_replies([filled.record_file], filled.ledger)
        assert [problem in one for one in found] == [True], found
    with sqlite3.connect(filled.ledger.path) as connection:
        connection.execute("update replies set request = replace(request, 'row 7', 'row 8')")
    (found,) = verify_replies([], filled.ledger)
    assert "is not the key of its request" in found


def test_prune_deletes_only_what_is_old_and_unused_and_only_if_told_to(filled):
    def prune(delete, days=1.0):
        return prune_ledger(
            filled.ledger, recorded_in=[filled.record_file], older_than_days=days, prices=PRICES, delete=delete
        )

    assert prune(delete=True).keys == [], "all are new"
    with filled.ledger.connection() as connection:
        connection.execute("update replies set recorded_at = ?", (time.time() - 2 * 86_400,))
    told = prune(delete=False)
    assert len(told.keys) == 4
    assert told.cost_usd == pytest.approx(4 * 450 / 1e6)
    assert sum(1 for _ in filled.ledger.entries()) == 10
    assert prune(delete=True) == told
    assert sum(1 for _ in filled.ledger.entries()) == 6


def test_an_exported_ledger_replays_elsewhere(filled, question, config, store, tmp_path):
    path = tmp_path / "exported.jsonl"
    assert export_ledger(filled.ledger, path, model="openai/gpt-4o") == 10
    assert export_ledger(filled.ledger, tmp_path / "none.jsonl", model="gpt-3") == 0
    elsewhere = store("elsewhere", shipped=[path], ledger=tmp_path / "no_ledger")
    outcomes = ask_all([question(i) for i in range(10)], config=config(), store=elsewhere, what="t")
    assert len(outcomes) == 10


def test_the_command_counts_verifies_prunes_and_exports(filled, tmp_path):
    run = CliRunner().invoke
    folder = str(filled.record_file.parent)
    assert "6 replies (gpt-4o-2024-08-06 6)" in run(app, ["stats", folder]).output
    assert run(app, ["verify", folder]).exit_code == 0
    assert "would delete (confirm with --yes) 4 replies" in run(app, ["prune", folder, "--older-than-days", "0"]).output
    assert "10 replies" in run(app, ["export", str(tmp_path / "out" / "e.jsonl")]).output
    filled.record_file.write_text("nonsense\n")
    broken = run(app, ["verify", folder])
    assert broken.exit_code == 1
    assert "stage.jsonl:1" in broken.output
