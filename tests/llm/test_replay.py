import asyncio
import itertools
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from fault_server import Act, FaultServer, answer, error

from models_under_pressure.core.conversation import Message
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import write_jsonl
from models_under_pressure.llm.answering import ask_all, estimate
from models_under_pressure.llm.ask import Answer, Ask
from models_under_pressure.llm.config import LLMConfig
from models_under_pressure.llm.reply import Reply, to_row
from models_under_pressure.llm.run import run
from models_under_pressure.llm.session import Session
from models_under_pressure.llm.store import request_key


def numbered():
    """Answers that differ with every request, so that a repeated one would be seen."""
    counter = itertools.count()
    return lambda row, attempt: answer(explanation=f"{row}, request {next(counter)}")


def test_a_question_is_asked_once_and_then_replayed_from_each_place(question, config, store, tmp_path):
    asks = [question(i) for i in range(5)]
    with FaultServer(numbered()) as server:
        first = store()
        answers = ask_all(asks, config=config(server), store=first, what="t")
        first.write_record_file()
    none = tmp_path / "no_ledger"
    replay = config()
    assert ask_all(asks, config=replay, store=store("other"), what="from the ledger") == answers
    assert ask_all(asks, config=replay, store=store(ledger=none), what="from the record file") == answers
    shipped = store("other", shipped=[first.record_file], ledger=none)
    assert ask_all(asks, config=replay, store=shipped, what="from a shipped file") == answers
    assert not none.exists()


def test_the_record_file_goes_before_the_shipped_and_the_shipped_before_the_ledger(question, config, store):
    asks = [question(1)]
    with FaultServer(numbered()) as server:
        stores = {name: store(name, ledger=store(name).record_file.with_suffix(".db")) for name in ("a", "b", "c")}
        texts = {}
        for name, one in stores.items():
            texts[name] = ask_all(asks, config=config(server), store=one, what="t")[0].value.explanation
            one.write_record_file()
    assert len(set(texts.values())) == 3
    a, b, c = (stores[name] for name in "abc")
    both = store("a", shipped=[b.record_file], ledger=c.ledger.path)
    shipped = store("none", shipped=[b.record_file, a.record_file], ledger=c.ledger.path)
    assert ask_all(asks, config=config(), store=both, what="t")[0].value.explanation == texts["a"]
    assert ask_all(asks, config=config(), store=shipped, what="t")[0].value.explanation == texts["b"]


def test_every_missing_reply_is_counted_and_priced_in_one_error(question, config, store):
    with FaultServer() as server:
        ask_all([question(i) for i in range(3)], config=config(server), store=store(), what="t")
    with pytest.raises(UserError) as caught:
        ask_all([question(i) for i in range(10)], config=config(), store=store(), what="stage")
    text = str(caught.value)
    assert "7 of 10 replies are missing" in text
    assert "(first: 3, 4, 5, 6, 7)" in text
    assert "llm.mode=record" in text
    foreseen = estimate([question(i) for i in range(10)], config=config(), store=store())
    assert (foreseen.questions, foreseen.recorded, foreseen.missing) == (10, 3, 7)
    assert foreseen.output_tokens == 7 * 20, "as long as the recorded replies"
    assert not foreseen.is_bound
    assert foreseen.cost_usd == pytest.approx((foreseen.input_tokens * 2.5 + foreseen.output_tokens * 10) / 1e6)
    assert f"about ${foreseen.cost_usd:,.2f}" in text


def test_without_any_reply_the_estimate_is_an_upper_bound(question, config, store):
    foreseen = estimate([question(1)], config=config(max_tokens=500), store=store())
    assert (foreseen.output_tokens, foreseen.is_bound) == (500, True)
    unpriced = estimate([question(1)], config=config(prices={}), store=store())
    assert unpriced.cost_usd is None
    assert "unknown sum" in str(unpriced)


def test_looking_at_what_is_missing_writes_nothing(question, config, store):
    one = store()
    estimate([question(1)], config=config(mode="refresh"), store=one)
    assert not one.ledger.path.exists()
    assert not one.record_file.exists()


def test_record_files_are_equal_whatever_the_order_of_arrival(question, config, store):
    asks = [question(i) for i in range(40)]
    contents = []
    for attempt in range(3):
        shuffled = random.Random(attempt).sample(asks, len(asks))
        with FaultServer(lambda row, _: Act(delay=int(row) * 5 % 7 / 500)) as server:
            one = store(f"try{attempt}", ledger=store().record_file.with_name(f"{attempt}.db"))
            ask_all(shuffled, config=config(server, concurrency=3 + attempt), store=one, what="t")
            one.write_record_file()
        contents.append(one.record_file.read_bytes())
    assert contents[0] == contents[1] == contents[2]
    rows = [json.loads(line) for line in contents[0].splitlines()]
    assert [row["key"] for row in rows] == sorted(row["key"] for row in rows)
    assert set(rows[0]) == {"key", "model", "finish_reason", "usage", "content", "sha256"}, "no request text"


def test_the_record_file_holds_only_what_this_run_used(question, config, store):
    with FaultServer() as server:
        first = store()
        ask_all([question(i) for i in range(6)], config=config(server), store=first, what="t")
        first.write_record_file()
    second = store()
    ask_all([question(i) for i in range(2)], config=config(), store=second, what="t")
    second.write_record_file()
    assert second.record_file.read_text().count("\n") == 2
    ask_all([question(i) for i in range(6)], config=config(), store=store(), what="the ledger still has the others")


def test_equal_questions_are_paid_once_and_samples_apart(question, config, store):
    with FaultServer(numbered(), latency=0.05) as server:
        equal = ask_all([question(1)] * 30, config=config(server), store=store(), what="t")
        assert len(server.seen) == 1
        assert len({outcome.value.explanation for outcome in equal}) == 1
        samples = ask_all([question(1, sample=i) for i in range(4)], config=config(server), store=store(), what="t")
        assert len(server.seen) == 4
        assert len({outcome.value.explanation for outcome in samples}) == 4
        bodies = {json.dumps(seen.body, sort_keys=True) for seen in server.seen}
        assert len(bodies) == 1, "sample numbers never reach the wire"


def test_record_ids_never_reach_the_wire(question, config, store):
    ask = question("x")
    named = type(ask)("patient-4711", ask.messages, ask.reply)
    with FaultServer() as server:
        ask_all([named], config=config(server), store=store(), what="t")
    assert "4711" not in json.dumps([server.seen[0].body, server.seen[0].headers])


def test_refresh_asks_the_selected_anew_and_keeps_the_rest(question, config, store):
    asks = [question(row) for row in ("a1", "a2", "b1")]
    with FaultServer(numbered()) as server:
        first = store()
        old = ask_all(asks, config=config(server), store=first, what="t")
        first.write_record_file()
        server.seen.clear()
        second = store()
        new = ask_all(asks, config=config(server, mode="refresh", refresh_ids="a*"), store=second, what="t")
        second.write_record_file()
    assert server.rows == {"a1": 1, "a2": 1}
    assert [o == n for o, n in zip(old, new, strict=True)] == [False, False, True]
    assert ask_all(asks, config=config(), store=store(ledger=first.record_file.with_name("none")), what="t") == new


def test_text_of_the_dataset_is_sent_as_it_is(question, config, store):
    hostile = "{{ 7 * 7 }} {% raw %} <script> \\u0000 \u2028 'quote\" 𝕏 data:image/png;base64,xx"
    with FaultServer() as server:
        ask_all([question(1, text=hostile)], config=config(server), store=store(), what="t")
    assert server.seen[0].body["messages"][1]["content"] == f"row 1 {hostile}"


def test_requests_carry_a_strict_schema_and_leave_out_what_is_null(question, config, store):
    with FaultServer() as server:
        ask_all([question(1)], config=config(server), store=store(), what="t")
        ask_all([question(1)], config=config(server, temperature=0.5, seed=3), store=store(), what="t")
    plain, sampled = (seen.body for seen in server.seen)
    assert plain["response_format"]["json_schema"]["strict"] is True
    assert plain["response_format"]["json_schema"]["schema"]["additionalProperties"] is False
    assert "temperature" not in plain
    assert "seed" not in plain
    assert (sampled["temperature"], sampled["seed"]) == (0.5, 3)


def test_answers_are_of_the_very_class_that_was_asked_for(question, config, store):
    ask = question(1)
    with FaultServer() as server:
        (outcome,) = ask_all([ask], config=config(server), store=store(), what="t")
    assert isinstance(outcome, Answer)
    assert type(outcome.value) is ask.reply
    assert outcome.value == ask.reply(explanation="because", stakes=7)


def test_recording_without_a_key_says_which_variable_is_missing_only_if_a_reply_is(question, config, store):
    with FaultServer() as server:
        ask_all([question(1)], config=config(server), store=store(), what="t")
    for endpoint, variable in (("openai", "OPENAI_API_KEY"), ("openrouter", "OPEN_ROUTER_API_KEY")):
        keyless = config(mode="record", endpoint=endpoint)
        assert len(ask_all([question(1)], config=keyless, store=store(), what="t")) == 1
        with pytest.raises(UserError, match=f"{variable} is not set"):
            ask_all([question(i) for i in range(50)], config=keyless, store=store(), what="t")


def test_a_record_file_that_is_damaged_is_named_with_its_line(question, config, store):
    with FaultServer() as server:
        one = store()
        ask_all([question(1)], config=config(server), store=one, what="t")
        one.write_record_file()
    good = one.record_file.read_text()
    for bad, problem in (
        ("<<<<<<< HEAD\n", "not a recorded reply"),
        (good, "occurs twice"),
        ("{}\n", "not a recorded"),
    ):
        one.record_file.write_text(good + bad)
        with pytest.raises(UserError, match=rf"stage.jsonl:2: .*{problem}"):
            store()


def test_an_unknown_endpoint_is_refused():
    with pytest.raises(ValueError, match="openai, openrouter or the base URL"):
        LLMConfig(model="m", endpoint="openia")


def test_a_rejected_question_is_asked_again_by_the_next_run(question, config, store):
    with FaultServer(lambda row, attempt: error(400) if attempt == 1 else Act()) as server:
        assert ask_all([question(1)], config=config(server), store=store(), what="t")[0].kind == "rejected"
        assert isinstance(ask_all([question(1)], config=config(server), store=store(), what="t")[0], Answer)


def test_a_replay_imports_neither_openai_nor_instructor(question, config, store):
    path, ask = store().record_file, Ask("0", (Message("user", "row 0"),), question(1).reply)
    reply = Reply('{"explanation": "a", "stakes": 7}', None, "stop", "m", None)
    write_jsonl(path, [to_row(request_key(ask.body(config()), sample=0), reply)])
    settings = path.with_name("config.json")
    settings.write_text(config().model_dump_json())
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import asking, models_under_pressure.stages.relabel
asking.main({str(settings)!r}, "1", {str(path)!r})
sys.exit(str({{"openai", "instructor", "httpx2"}} & set(sys.modules)).replace("set()", ""))
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stderr == "\n"


@pytest.mark.parametrize(
    "content",
    [
        '{"explanation": "é", "stakes": 7}',
        ' {"stakes": "7", "explanation": ""} ',
        '{"explanation": "a", "stakes": 7.0}',
        '{"explanation": "a", "stakes": 7, "stakes": 8}',
        '```json\n{"explanation": "a", "stakes": 7}\n```',
        '{"explanation": "a", "stakes": 7} indeed',
        '{"explanation": "a", "stakes": 7, "more": 1}',
        '{"explanation": null, "stakes": 7}',
        "",
    ],
)
def test_what_is_read_without_the_libraries_is_what_they_read(content, question, config, store):
    ask, shipped = question(1), store().record_file.with_name("shipped.jsonl")
    reply = Reply(content, None, "stop", "m", None)
    write_jsonl(shipped, [to_row(request_key(ask.body(config()), sample=0), reply)])
    session = Session(config(reasks=0), store(shipped=[shipped]), online=False)
    read = asyncio.run(run([ask], session, what="t")).settled
    assert ask_all([ask], config=config(reasks=0), store=store(shipped=[shipped]), what="t") == read
