"""Scoring new conversations, as a library and from the command line."""

import json
import os
import re
import subprocess
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from models_under_pressure.activations.tokens import RefusedError
from models_under_pressure.cli import app
from models_under_pressure.core.conversation import Message
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.records import Label, Record
from models_under_pressure.core.tables import read_stream
from models_under_pressure.monitor.explain import to_html
from models_under_pressure.monitor.score import load_probe_model, score_records, to_row
from models_under_pressure.probes.data import with_labels

HOSTILE = "naïve 東京 🚀 <script>alert(1)</script> \x1b[31mred\x1b[0m <|im_start|>system"
RECORDS = [
    Record("b", "I smell fire in the kitchen"),
    Record("a", (Message("system", "Be kind."), Message("user", HOSTILE), Message("assistant", "No."))),
    Record("c", "A poem about my garden, please. " * 6),
]


@pytest.fixture(scope="session")
def model(probe):
    return load_probe_model(probe, device="cpu")


@pytest.fixture
def file(tmp_path):
    from models_under_pressure.core.records import to_row

    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps(to_row(record)) + "\n" for record in RECORDS))
    return path


def test_scores_are_those_of_the_probe_on_a_store_and_in_the_order_given(probe, model, store_of):
    store = store_of(RECORDS)
    expected = dict(zip(store.ids, probe.decision_function(store), strict=True))
    found = list(score_records(RECORDS, probe, model))
    assert [scored.id for scored in found] == ["b", "a", "c"]
    for scored in found:
        assert scored.logit == pytest.approx(expected[scored.id], rel=1e-5)
        assert scored.probability == pytest.approx(float(probe.probabilities(np.array([scored.logit]))[0]))
        for row in probe.thresholds:
            assert scored.flagged[row.budget] is (row.logit is not None and scored.logit >= row.logit)


def test_chunks_change_nothing(probe, model, monkeypatch):
    from models_under_pressure.monitor import score

    whole = [scored.logit for scored in score_records(RECORDS, probe, model)]
    monkeypatch.setattr(score, "CHUNK", 1)
    np.testing.assert_allclose([scored.logit for scored in score_records(RECORDS, probe, model)], whole, rtol=1e-4)


def test_tokens_spell_the_conversation_and_their_contributions_sum_to_the_logit(probe, model):
    for scored in score_records(RECORDS, probe, model, tokens=True):
        tokens = scored.tokens
        assert tokens.contributions.sum() == pytest.approx(scored.logit)
        text = "".join(tokens.texts)
        (record,) = [record for record in RECORDS if record.id == scored.id]
        for message in record.messages:
            assert message.content in text
        assert len(tokens.texts) == len(tokens.logits) == len(tokens.roles)


def test_a_probe_that_reads_sentences_scores_by_the_best_one(fit, model, store_of, tmp_path):
    from models_under_pressure.probes.probe import load_probe, save_probe
    from models_under_pressure.probes.training import continue_probe

    probe = fit("sentence_mean_max", epochs=3, tokens=("user",))
    save_probe(probe, tmp_path / "probe")
    probe = load_probe(tmp_path / "probe")
    record = Record("s", "A poem. There is a fire! Help me")
    (scored,) = score_records([record], probe, model, tokens=True)
    user = [
        row for row in zip(scored.tokens.texts, scored.tokens.roles, scored.tokens.logits, strict=True) if row[1] == 1
    ]
    sentences, current = [], []
    for text, _, logit in user:
        current.append(logit)
        if text.rstrip().endswith((".", "!")):
            sentences.append(current)
            current = []
    sentences.append(current)
    assert len(sentences) == 3
    assert scored.logit == pytest.approx(max(np.mean(sentence) for sentence in sentences))
    rows = [
        Record(f"n{number}", "a song. a cake." if number % 2 else "fire! smoke!", label=label)
        for number, label in enumerate([Label.HIGH, Label.LOW] * 4)
    ]
    continued = continue_probe(probe, with_labels(store_of(rows), rows), None)
    np.testing.assert_array_equal(continued.weights["sentence_end_ids"], probe.weights["sentence_end_ids"])


def test_pooled_activations_have_no_tokens_to_show(fit, model):
    from dataclasses import replace

    probe = fit("mean")
    pooled = replace(probe, provenance={**probe.provenance, "keep": "mean"})
    assert len(list(score_records(RECORDS, pooled, model))) == 3
    with pytest.raises(UserError, match="one vector per conversation"):
        list(score_records(RECORDS, pooled, model, tokens=True))


def test_another_revision_of_the_model_is_refused(probe, model):
    from dataclasses import replace

    other = replace(probe, provenance={**probe.provenance, "revision": "other"})
    with pytest.raises(UserError, match="revision is"):
        list(score_records(RECORDS, other, model))


def test_the_command_writes_one_row_per_conversation(file, probe_folder, tmp_path):
    out = tmp_path / "out.jsonl"
    done = CliRunner().invoke(app, ["score", "--probe", str(probe_folder), str(file), "--tokens", "--out", str(out)])
    assert done.exit_code == 0, done.output
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["ids"] for row in rows] == ["b", "a", "c"]
    assert set(rows[0]) == {"ids", "logit", "probability", "flagged", "tokens"}
    assert set(rows[0]["flagged"]) == {"fpr_0.01", "fpr_0.05", "fpr_0.1"}
    assert {token["role"] for token in rows[1]["tokens"]} == {"template", "system", "user", "assistant"}
    assert sum(token["contribution"] for token in rows[1]["tokens"]) == pytest.approx(rows[1]["logit"], abs=1e-3)


def test_it_reads_standard_input_and_writes_nothing_but_rows_to_standard_output(probe_folder, tmp_path, warm_path):
    command = ["python", "-m", "models_under_pressure", "score", "--probe", str(probe_folder)]
    environment = os.environ | {"PATH": warm_path, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    row = '{"inputs": "東京 fire"}\n'.encode()
    done = subprocess.run(command, input=row, capture_output=True, cwd=tmp_path, env=environment, check=False)
    assert done.returncode == 0, done.stderr.decode()
    (row,) = [json.loads(line) for line in done.stdout.decode().splitlines()]
    assert row["ids"] == "0"
    assert 0 <= row["probability"] <= 1


@pytest.mark.parametrize(
    "table", ['{"inputs": "fire, 1"}\n', 'ids,inputs\r\n0,"fire, 1"\r\n', "\ufeffinputs\tnote\nfire, 1\tx\n"]
)
def test_standard_input_is_json_lines_csv_or_tsv(table):
    rows = list(read_stream(BytesIO(table.encode()), where="standard input"))
    assert [(number, row["inputs"]) for number, row in rows] == [(1, "fire, 1")]


def test_a_row_cut_in_a_table_on_standard_input_is_named():
    with pytest.raises(UserError, match=r"standard input, row 2 \(ending at line 3\): .*fields"):
        list(read_stream(BytesIO(b"ids,inputs\na,x\nb\n"), where="standard input"))


def test_a_conversation_that_the_template_refuses_is_named_after_the_others_are_scored(probe, model):
    broken, found, refused = Record("broken", "half \ud83d"), [], {}
    with pytest.raises(RefusedError, match="record 'broken'"):
        found += score_records([broken, *RECORDS], probe, model)
    rows = score_records([broken, *RECORDS], probe, model, refused=refused)
    assert [scored.id for scored in rows] == ["b", "a", "c"]
    assert list(refused) == ["broken"]


def test_tool_replies_and_thinking_have_their_roles_in_the_scores_and_a_probe_of_all_that_is_said_sees_them(fit, model):
    agent = (
        Message("user", "Fire?"),
        Message("assistant", "Yes.", thinking="Smoke."),
        Message("tool", "alarm", tool_call_id="c1"),
    )
    said = fit("mean_logistic", tokens=("system", "user", "assistant"))
    (scored,) = score_records([Record("c", agent)], said, model, tokens=True)
    rows = to_row(scored)["tokens"]
    assert {"tool", "thinking"} <= {row["role"] for row in rows}
    added = {role: sum(row["contribution"] for row in rows if row["role"] == role) for role in ("tool", "template")}
    assert added["tool"] != 0
    assert added["template"] == 0
    assert {"tool", "thinking"} <= set(re.findall(r"<section><b>(\w+)</b>", to_html(scored, said)))


@pytest.mark.parametrize(
    ("line", "problem"), [("not json", "standard input:1: "), ('{"inputs": ""}', "standard input:1: conversation is")]
)
def test_a_malformed_row_is_named_before_the_model_loads(probe_folder, monkeypatch, line, problem):
    from models_under_pressure.monitor import score

    monkeypatch.setattr(score, "load_probe_model", lambda *_, **__: pytest.fail("the model was loaded"))
    done = CliRunner().invoke(app, ["score", "--probe", str(probe_folder)], input=line + "\n")
    assert isinstance(done.exception, UserError)
    assert problem in str(done.exception)


def test_an_unknown_probe_is_refused_with_those_that_exist(probe_folder, file, tmp_path, monkeypatch):
    (tmp_path / "data/probes").mkdir(parents=True)
    probe_folder.rename(tmp_path / "data/probes/mine")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["score", "--probe", "yours", str(file)])
    assert "no probe 'yours'" in str(done.exception)
    assert "mine" in str(done.exception)
    assert CliRunner().invoke(app, ["score", "--probe", "mine", str(file)]).exit_code == 0
