"""A flag escalated to a judge: the cascade, while the model speaks."""

import io
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from models_under_pressure.activations.config import ModelConfig
from models_under_pressure.activations.model import load_language_model
from models_under_pressure.core.concept import load_concept
from models_under_pressure.core.conversation import Message
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.records import Record
from models_under_pressure.llm.config import LLMConfig
from models_under_pressure.monitor.judging import asking, model_judge, probe_judge
from models_under_pressure.monitor.live import Monitor
from models_under_pressure.monitor.running import Verdict, with_reply
from models_under_pressure.probes.calibration import Threshold
from models_under_pressure.probes.probe import save_probe
from models_under_pressure.tools.score import command as score
from models_under_pressure.tools.watch import command as watch

sys.path.insert(0, str(Path(__file__).parents[1] / "llm"))
from fault_server import Act, FaultServer, completion

ASKED = (Message("user", "Is the ship on fire?"),)


@pytest.fixture(scope="module")
def model(model_folder):
    return load_language_model(ModelConfig(name=str(model_folder), dtype="float32"))


def flagging(probe, logit):
    """The probe, with a threshold of its logit."""
    row = Threshold(budget=0.01, logit=logit, fpr=0, fpr_low=0, fpr_high=1, tpr=1, negatives=1, positives=1)
    return replace(probe, thresholds=(row,))


def judged(probability, reasoning="Smoke is dangerous."):
    return Act(body=completion(json.dumps({"reasoning": reasoning, "probability": probability})))


def test_a_judge_reads_the_conversation_so_far_and_decides_once_whether_it_goes_on(model, probe):
    seen = []

    def judge(record):
        seen.append(record)
        return Verdict(judge="me", stops=len(seen) == 2, probability=0.5)

    monitor = Monitor({"a": flagging(probe, -1e9), "b": flagging(replace(probe, seed=1), -1e9)}, model)
    reply = monitor.generate(ASKED, max_new_tokens=6, judge=judge)
    steps = list(reply)
    assert len(steps) == 6
    (one,) = reply.outcome.escalations
    assert one.probes == ("a", "b")
    assert one.tokens == 1
    assert seen[0].messages[: len(ASKED)] == ASKED
    assert reply.outcome.record.messages[-1].content.startswith(one.reply)
    stopped = monitor.generate(ASKED, max_new_tokens=6, judge=judge)
    assert len(list(stopped)) == 1
    assert stopped.outcome.action == "stopped"
    with pytest.raises(UserError, match="`on_flag` and `judge`"):
        monitor.generate(ASKED, judge=judge, on_flag=lambda step: True)


@pytest.mark.parametrize(("height", "ends"), [(-1e9, True), (1e9, False)])
def test_a_second_probe_judges_by_its_own_threshold_and_disturbs_nothing(model, fit, probe, height, ends):
    second = flagging(fit("mean"), height)
    judge = probe_judge("second", Monitor({"second": second}, model))
    watched = Monitor({"a": flagging(probe, -1e9)}, model)
    free = list(watched.generate(ASKED, max_new_tokens=5))
    reply = watched.generate(ASKED, max_new_tokens=5, judge=judge)
    assert list(reply) == free[: 1 if ends else 5]
    (one,) = reply.outcome.escalations
    assert one.verdict.stops is ends
    expected = Monitor({"b": second}, model).score(with_reply(Record("x", ASKED), one.reply))
    assert one.verdict.logit == pytest.approx(expected.logits["b"], abs=1e-4)


def test_a_probe_that_could_stop_nothing_is_no_judge(model, probe):
    with pytest.raises(UserError, match="no threshold"):
        probe_judge("it", Monitor({"it": replace(probe, thresholds=())}, model))


@pytest.mark.parametrize(
    ("act", "stops", "probability"),
    [(judged(90), True, 0.9), (judged(20), False, 0.2), (Act(body=completion(None, refusal="I cannot.")), True, None)],
)
def test_a_model_behind_an_api_judges_and_without_its_answer_the_reply_stops(tmp_path, act, stops, probability):
    record = Record("r", (*ASKED, Message("assistant", "Yes, row 1")))
    with FaultServer(lambda row, attempt: act) as server:
        config = LLMConfig(model="gpt-4o", endpoint=server.url, mode="record", retries=0, reasks=0)
        with asking(config, tmp_path / "talk.jsonl") as ask:
            verdict = model_judge("gpt-4o", load_concept("stakes"), ask)(record)
            again = model_judge("gpt-4o", load_concept("stakes"), ask)(record)
        assert len(server.seen) == 1
        assert "ASSISTANT\nYes, row 1" in server.seen[0].body["messages"][-1]["content"]
    assert verdict == again
    assert (verdict.stops, verdict.probability) == (stops, probability)
    assert verdict.reasons
    assert (tmp_path / "talk.replies.jsonl").read_text().count("\n") == 1


@pytest.fixture
def talk(probe, tmp_path, monkeypatch, capsys):
    """A talk whose flags an API model has judged: its log, and the lines that it printed."""
    save_probe(flagging(probe, -1e9), tmp_path / "probe")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO("Is there a fire?\nAre you sure?\n"))
    answers = iter([judged(10, "Only\na question."), judged(80)])
    with FaultServer(lambda row, attempt: next(answers)) as server:
        Path("params.yaml").write_text(f"llm: {{endpoint: '{server.url}', model: other}}\nmodel: {{name: other}}\n")
        watch(["probe"], max_new_tokens=4, escalate="api:gpt-4o", log=Path("talk.jsonl"))
    return tmp_path / "talk.jsonl", capsys.readouterr().out.splitlines()


def test_a_talk_says_what_the_judge_said_and_replay_verifies_it(talk, capsys, monkeypatch):
    log, printed = talk
    assert [line for line in printed if line.startswith("[judge")] == [
        "[judge gpt-4o after 1 tokens: 0.100, lets it go on: Only a question.]",
        "[judge gpt-4o after 1 tokens: 0.800, stops: Smoke is dangerous.]",
    ]
    first, second = (json.loads(line) for line in log.read_text().splitlines())
    assert second["action"] == "stopped"
    assert second["escalations"][0]["verdict"]["probability"] == 0.8

    monkeypatch.setenv("MUP_LEDGER", str(log.parent / "another.sqlite"))  # a colleague's
    score("probe", str(log), replay=True)
    assert "2 conversations verified" in (told := capsys.readouterr().out)
    assert "2 verdicts of models verified" in told

    replies = log.with_suffix(".replies.jsonl")
    kept = replies.read_text()
    replies.unlink()
    score("probe", str(log), replay=True)
    assert "2 verdicts of models have no recorded reply here" in capsys.readouterr().out
    replies.write_text(kept)
    first["escalations"][0]["verdict"]["probability"] = 0.2
    log.write_text(json.dumps(first) + "\n")
    with pytest.raises(UserError, match=r"was judged 0\.2, its recorded reply says 0\.1"):
        score("probe", str(log), replay=True)


def test_the_verdict_of_a_second_probe_is_verified_by_naming_it(probe, fit, tmp_path, monkeypatch, capsys):
    save_probe(flagging(probe, -1e9), tmp_path / "first")
    save_probe(flagging(fit("mean"), -1e9), tmp_path / "second")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO("Is there a fire?\n"))
    watch(["first"], max_new_tokens=4, escalate="second", log=Path("talk.jsonl"))
    assert "judge second after 1 tokens" in capsys.readouterr().out
    for name in ("first", "second"):
        score(name, "talk.jsonl", replay=True)
        assert "1 conversations verified" in capsys.readouterr().out
    row = json.loads(Path("talk.jsonl").read_text())
    row["escalations"][0]["verdict"]["logit"] += 0.01
    Path("talk.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(UserError, match="was logged with the logit"):
        score("second", "talk.jsonl", replay=True)


def test_a_flag_has_one_policy(probe_folder):
    with pytest.raises(UserError, match="--stop and --escalate"):
        watch([str(probe_folder)], stop=True, escalate="api:x")
