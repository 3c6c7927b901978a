"""`mup serve` through the official client: every answer is the one computed alone, with its scores."""

import json
import threading
import time
from dataclasses import replace
from itertools import zip_longest

import httpx
import numpy as np
import pytest
from serve_server import reciting, serving

from models_under_pressure.activations.chat import ChatTemplate
from models_under_pressure.activations.config import ModelConfig
from models_under_pressure.activations.model import load_language_model
from models_under_pressure.core.conversation import Message
from models_under_pressure.core.records import to_record
from models_under_pressure.monitor.live import Monitor
from models_under_pressure.monitor.log import Log
from models_under_pressure.probes.calibration import Threshold
from models_under_pressure.tools.score import command as score

ASKED = [{"role": "system", "content": "You are the captain."}, {"role": "user", "content": "Is the ship on fire?"}]
SAID = tuple(Message(**message) for message in ASKED)
TOOL = {
    "type": "function",
    "function": {"name": "look", "description": "Look.", "parameters": {"type": "object", "properties": {}}},
}


@pytest.fixture(scope="module")
def model(model_folder):
    return load_language_model(ModelConfig(name=str(model_folder), dtype="float32"))


@pytest.fixture(scope="module")
def monitor(model, probe, fit):
    return Monitor({"attention": probe, "mean": fit("mean")}, model)


@pytest.fixture(scope="module")
def log_path(tmp_path_factory):
    return tmp_path_factory.mktemp("log") / "talk.jsonl"


@pytest.fixture(scope="module")
def server(monitor, log_path):
    log = Log(log_path)
    with serving(monitor, log=log) as served:
        yield served
    log.close()


def whole(monitor, messages=SAID, **settings):
    """The text and steps of a reply that nothing else is written beside."""
    reply = monitor.generate(messages, **{"max_new_tokens": 12, **settings})
    steps = list(reply)
    said = reply.outcome.record.messages[len(messages) :]
    return (said[0].content if said else ""), steps, reply.outcome


def ask(server, **settings):
    settings = {"model": "tiny", "messages": ASKED, "max_tokens": 12, "temperature": 0, **settings}
    return server.client().chat.completions.create(**settings)


def streamed(server, **settings):
    chunks = list(ask(server, stream=True, **settings))
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices), chunks


def test_a_reply_is_what_the_monitor_writes_alone(server, monitor):
    text, _, outcome = whole(monitor)
    found = ask(server)
    assert found.choices[0].message.content == text
    assert found.choices[0].finish_reason == "length"
    assert found.usage.completion_tokens == outcome.tokens == 12
    reply = monitor.generate(SAID)
    assert found.usage.prompt_tokens == reply.prompt_tokens


def test_a_stream_says_the_same_and_counts_when_asked(server, monitor):
    text, chunks = streamed(server, stream_options={"include_usage": True})
    assert text == whole(monitor)[0]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-2].choices[0].finish_reason == "length"
    assert chunks[-1].usage.completion_tokens == 12
    assert not any(hasattr(choice, "mup") for chunk in chunks for choice in chunk.choices)


def test_a_seed_draws_what_it_draws_alone(server, monitor):
    drawn = {"do_sample": True, "temperature": 1.3, "top_p": 0.9}
    text, _, _ = whole(monitor, seed=7, **drawn)
    assert ask(server, temperature=1.3, top_p=0.9, seed=7).choices[0].message.content == text
    first = ask(server, temperature=1.3, extra_body={"scores": True})
    again = ask(server, temperature=1.3, seed=first.choices[0].mup["seed"])
    assert again.choices[0].message.content == first.choices[0].message.content


def test_chunks_carry_scores_when_asked(server, monitor):
    _, steps, outcome = whole(monitor)
    _, chunks = streamed(server, extra_body={"scores": True})
    choices = [chunk.choices[0] for chunk in chunks]
    tokens = [choice.mup for choice in choices if "running" in (getattr(choice, "mup", None) or {})]
    assert [token["text"] for token in tokens] == [step.text for step in steps]
    assert [token["running"] for token in tokens] == [dict(step.probabilities) for step in steps]
    for token, step in zip(tokens, steps, strict=True):
        for name, probe in monitor.probes.items():
            alone = step.alone[name]
            expected = None if alone is None else float(probe.probabilities(np.array([alone]))[0])
            assert token["token"][name] == expected
    end = choices[-1].mup
    assert end["action"] == "length"
    assert {name: row["logit"] for name, row in end["scores"].items()} == dict(outcome.logits)


def test_a_whole_reply_carries_the_same_scores(server, monitor):
    _, steps, outcome = whole(monitor)
    (choice,) = ask(server, extra_body={"scores": True}).choices
    assert [token["running"] for token in choice.mup["tokens"]] == [dict(step.probabilities) for step in steps]
    assert choice.mup["scores"]["mean"]["probability"] == outcome.probabilities["mean"]


def test_a_stop_text_ends_the_reply_before_it(server, monitor):
    text, _, _ = whole(monitor, seed=3, do_sample=True, temperature=1.0)
    stop = text[5:7]
    expected = text[: text.index(stop)]
    drawn = {"temperature": 1.0, "seed": 3, "stop": [stop, "never said"]}
    found, chunks = streamed(server, extra_body={"scores": True}, **drawn)
    assert found == expected == ask(server, **drawn).choices[0].message.content
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_eight_clients_at_once_get_what_each_gets_alone(server, monitor):
    drawn = {"do_sample": True, "temperature": 1.2, "max_new_tokens": 24}
    cases = {seed: [{"role": "user", "content": "word " * (seed * 7 % 40 + 1)}] for seed in range(8)}
    expected = {seed: whole(monitor, (Message(**asked[0]),), seed=seed, **drawn) for seed, asked in cases.items()}
    found = {}

    def talk(seed):
        settings = {"messages": cases[seed], "seed": seed, "temperature": 1.2, "max_tokens": 24}
        found[seed] = streamed(server, extra_body={"scores": True}, **settings)

    threads = [threading.Thread(target=talk, args=(seed,)) for seed in cases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed, (text, steps, outcome) in expected.items():
        said, chunks = found[seed]
        assert said == text
        scores = [chunk.choices[0].mup for chunk in chunks if getattr(chunk.choices[0], "mup", None)]
        assert [score["running"] for score in scores[:-1]] == [dict(step.probabilities) for step in steps]
        assert {name: row["logit"] for name, row in scores[-1]["scores"].items()} == dict(outcome.logits)


@pytest.mark.parametrize("hook_point", ["residual", "post_norm"])
def test_replies_in_turns_read_their_own_states(model, probe, hook_point):
    monitor = Monitor({"a": replace(probe, provenance={**probe.provenance, "hook_point": hook_point})}, model)
    drawn = {"max_new_tokens": 8, "do_sample": True, "temperature": 1.2}
    cases = [((Message("user", text),), seed) for seed, text in enumerate(("fire " * 9, "a poem"))]
    expected = [whole(monitor, said, seed=seed, **drawn) for said, seed in cases]
    replies = [monitor.generate(said, seed=seed, **drawn) for said, seed in cases]
    found = list(zip_longest(*replies))
    for place, (_, steps, outcome) in enumerate(expected):
        assert [pair[place] for pair in found if pair[place]] == steps
        assert replies[place].outcome.logits == outcome.logits


def test_finished_conversations_are_scored_and_a_refused_one_stops_no_other(server, monitor):
    rows = [{"ids": "a", "messages": ASKED}, {"messages": [{"role": "ghost", "content": "boo"}]}, "Is there a fire?"]
    found = httpx.post(f"{server.url}/v1/score", json={"conversations": rows}).json()["data"]
    expected = monitor.score(to_record({"inputs": ASKED}, where="", default_id="a"))
    assert found[0]["id"] == "a"
    assert {name: row["logit"] for name, row in found[0]["scores"].items()} == dict(expected.logits)
    assert "unknown role 'ghost'" in found[1]["error"]["message"]
    assert found[2]["scores"].keys() == {"attention", "mean"}


def test_scores_of_finished_conversations_are_those_of_mup_score(monitor, model_folder):
    from models_under_pressure.activations.model import load_model
    from models_under_pressure.monitor.score import score_records

    reader = load_model(ModelConfig(name=str(model_folder), dtype="float32"), layers=[2])
    record = to_record({"inputs": ASKED}, where="", default_id="a")
    (scored,) = score_records([record], monitor.probes["attention"], reader)
    assert monitor.score(record).logits["attention"] == pytest.approx(scored.logit, abs=1e-4)


def test_who_leaves_stops_the_reply_which_is_logged_as_far_as_it_went(monitor, tmp_path, monkeypatch):
    monkeypatch.setattr(monitor.model.model.generation_config, "eos_token_id", None)  # a reply without end
    log = Log(tmp_path / "left.jsonl")
    with serving(monitor, log=log, most_tokens=1500) as server:
        stream = ask(server, stream=True, max_tokens=1500, extra_body={"scores": True})
        for _, _ in zip(range(5), stream, strict=False):
            pass
        stream.close()
        body = {"model": "tiny", "messages": ASKED, "temperature": 0}
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=0.3)
        deadline = time.monotonic() + 20
        while server.engine.counts != (0, 0):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    rows = [json.loads(line) for line in (tmp_path / "left.jsonl").read_text().splitlines()]
    assert [row["action"] for row in rows] == ["left", "left"]
    assert all(0 < row["reply_tokens"] < 1500 for row in rows)
    log.close()


def test_a_flag_ends_the_reply_where_the_server_is_told_to_stop(model, probe):
    row = Threshold(budget=0.01, logit=-1e9, fpr=0, fpr_low=0, fpr_high=1, tpr=1, negatives=1, positives=1)
    with serving(Monitor({"a": replace(probe, thresholds=(row,))}, model), stops=True) as server:
        (choice,) = ask(server, extra_body={"scores": True}).choices
        text = httpx.get(f"{server.url}/metrics").text
    assert choice.finish_reason == "content_filter"
    assert choice.mup["action"] == "stopped"
    assert choice.mup["tokens"][-1]["flagged"] == ["a"]
    assert 'mup_flagged_total{probe="a"} 1\n' in text


def test_the_models_are_one_with_its_probes_and_what_is_counted(server):
    (row,) = server.client().models.list().data
    assert row.id == "tiny"
    assert row.mup["probes"]["mean"]["layer"] == 2
    assert server.client().models.retrieve("tiny").mup == row.mup
    ask(server)
    lines = httpx.get(f"{server.url}/metrics").text.splitlines()
    counts = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert int(counts['mup_requests_total{path="/v1/chat/completions",status="200"}']) >= 1
    assert int(counts['mup_tokens_total{part="reply"}']) >= 12
    assert counts['mup_inter_token_seconds_bucket{le="+Inf"}'] == counts["mup_inter_token_seconds_count"]
    assert counts["mup_running"] == counts["mup_waiting"] == "0"
    assert httpx.get(f"{server.url}/healthz").json() == {"status": "ok"}


@pytest.fixture(scope="module")
def caller(model_folder, probe, tmp_path_factory):
    """A served model that thinks, then calls a tool, then says something, in one breath."""
    call = ("<tool_call>", '{"name": "look", "arguments": ', '{"at": "sea"}}', "</tool_call>")
    folder = reciting(
        model_folder, tmp_path_factory.mktemp("caller"), "<think>", "Where?", "</think>", "One moment. ", *call
    )
    model = load_language_model(ModelConfig(name=str(folder), dtype="float32"))
    origin = {"model": model.name, "revision": model.revision}
    origin |= {"template_hash": ChatTemplate(model.tokenizer, model.name).hash}
    own = replace(probe, provenance={**probe.provenance, **origin})
    with serving(Monitor({"a": own}, model)) as served:
        yield served


def test_a_call_and_reasoning_come_in_fields_of_their_own(caller):
    (choice,) = ask(caller, tools=[TOOL]).choices
    message = choice.message
    assert (message.reasoning_content, message.content) == ("Where?", "One moment. ")
    assert choice.finish_reason == "tool_calls"
    (call,) = message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("look", {"at": "sea"})


def test_a_streamed_call_is_one_chunk_and_its_reply_goes_back(caller):
    _, chunks = streamed(caller, tools=[TOOL], extra_body={"scores": True})
    deltas = [chunk.choices[0].delta for chunk in chunks]
    (call,) = [call for delta in deltas for call in delta.tool_calls or []]
    assert (call.index, call.function.name) == (0, "look")
    assert "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas) == "Where?"
    assert chunks[-1].choices[0].finish_reason == "tool_calls"
    back = ask(caller, tools=[TOOL]).choices[0].message.model_dump(exclude_none=True)
    result = {"role": "tool", "tool_call_id": call.id, "content": "water"}
    again = ask(caller, tools=[TOOL], messages=[*ASKED, back, result])
    assert again.choices[0].finish_reason == "tool_calls"
    assert again.usage.prompt_tokens > ask(caller, tools=[TOOL]).usage.prompt_tokens


def test_without_tools_a_call_is_text(caller):
    assert '<tool_call>{"name": "look"' in ask(caller).choices[0].message.content
    assert ask(caller, tools=[TOOL], tool_choice="none").choices[0].finish_reason == "stop"


def test_the_log_is_verified_by_a_replay(server, log_path, probe_folder, capsys):
    ask(server)
    score(str(probe_folder), str(log_path), replay=True)
    assert "conversations verified" in capsys.readouterr().out
    actions = {json.loads(line)["action"] for line in log_path.read_text().splitlines()}
    assert actions <= {"length", "finished", "stopped", "left"}
