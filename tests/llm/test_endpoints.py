"""What endpoints send instead of a clean reply; each case once over HTTP, and once from what was recorded."""

import json

import pytest
from fault_server import GOOD, Act, FaultServer, completion, error, failing, message, says

from models_under_pressure.llm.answering import ask_all
from models_under_pressure.llm.ask import Answer, Failure

OBJECT = json.dumps(GOOD)
DRAFT = json.dumps({"explanation": "a draft", "stakes": 2})


@pytest.mark.parametrize(
    "content",
    [
        OBJECT,
        f"```json\n{OBJECT}\n```",
        f"```\n{OBJECT}\n```",
        f"~~~JSON\n{json.dumps(GOOD, indent=2)}\n~~~\n",
        f"<think>Is it {{grave}}? {DRAFT}</think>\n\n{OBJECT}",
        f"<thinking>\n{DRAFT}\n</thinking>```json\n{OBJECT}```",
        f"It may be grave. {DRAFT} No.</think>{OBJECT}",
        f"Here is my rating:\n\n{OBJECT}",
        f"{OBJECT}\n\nLet me know if {{you}} need more.",
        f"Sure! In the form {{explanation, stakes}}: {OBJECT} Done.",
        f"{OBJECT}\n{OBJECT}",
        f"[{OBJECT}]",
        f"\ufeff{OBJECT}",
        f'{{"note": "a sketch"}}\n{OBJECT}',
        f'{{"explanation": "cut off, \n{OBJECT}',
    ],
)
def test_the_object_is_found_wherever_it_stands_and_paid_once(content, asked):
    outcome, requests = asked(says(content))
    assert isinstance(outcome, Answer)
    assert (outcome.value.stakes, requests) == (7, 1)


def test_text_in_parts_is_read(asked):
    outcome, requests = asked(
        message(content=[{"type": "text", "text": OBJECT[:9]}, {"type": "text", "text": OBJECT[9:]}])
    )
    assert (outcome.value.stakes, requests) == (7, 1)


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (says("I would say: seven."), "the reply holds no whole JSON object: I would say: seven."),
        (says(OBJECT[:-4]), "the reply holds no whole JSON object: {"),
        (says(""), "the reply is empty"),
        (says(" \n"), "the reply is empty"),
        (says(None), "the reply is empty"),
        (message(role="assistant", tool_calls=[{"function": {"arguments": OBJECT}}]), "the reply is empty"),
        (message(content=7), "the reply is empty"),
        (message(content={"explanation": "because", "stakes": 7}), "the reply is empty"),
        (says(f"{DRAFT} or rather {OBJECT}"), "the reply holds 2 objects, and which one is meant is not certain"),
        (says(f"<think>{OBJECT}"), "the reply holds no whole JSON object: <think>{"),
        (says('```json\n{"explanation": "", "stakes": 11}\n```'), "stakes: Input should be less than or equal to 10"),
        (says('{"stakes": 7}'), "explanation: Field required"),
        (says('{"explanation": "", "stakes": 7, "sure": true}'), "sure: Extra inputs are not permitted"),
        (says("{" * 5000), "the reply holds no whole JSON object: {{{"),
        (says('{"a":' * 5000), "the reply holds no whole JSON object: {"),
        (says("no\x1b[31m\u202e\ud83d"), r"the reply holds no whole JSON object: no\x1b[31m\u202e"),
    ],
)
def test_a_reply_without_the_object_is_shown_its_reason_and_ends_with_the_first_one(act, reason, asked):
    outcome, requests = asked(act)
    assert isinstance(outcome, Failure)
    assert (outcome.kind, requests) == ("invalid", 2), "one question, one chance to mend it"
    assert outcome.detail.startswith(reason)
    assert "\n" not in outcome.detail


def test_an_unfit_reply_is_shown_to_the_model_as_it_was_as_in_older_recordings(question, config, store):
    unfit = "```json\n" + json.dumps(GOOD | {"stakes": 11}) + "\n```"
    with FaultServer(lambda row, attempt: says(unfit) if attempt == 1 else Act()) as server:
        assert isinstance(ask_all([question(1)], config=config(server), store=store(), what="t")[0], Answer)
    asked_again = server.seen[1].body["messages"]
    assert asked_again[-2] == {"role": "assistant", "content": unfit}
    assert "Invalid JSON" in asked_again[-1]["content"]


def test_a_chat_with_nothing_in_it_that_was_paid_for_is_kept_and_shown(asked):
    usage = {"prompt_tokens": 100, "completion_tokens": 20}
    outcome, requests = asked(failing(200, {"model": "m", "choices": [], "usage": usage}))
    assert (outcome.kind, outcome.detail, requests) == ("invalid", "the reply is empty", 2)
    outcome, requests = asked(failing(200, {"choices": [{"text": "seven"}], "usage": usage}), mode="refresh")
    assert (outcome.kind, requests) == ("invalid", 2)


@pytest.mark.parametrize(
    "body",
    [
        completion(OBJECT)[:-30],
        b'data: {"choices": [{"delta": {"content": "{"}}]}\n\n',
        json.dumps({"error": {"message": "lost", "code": 502}, "usage": {"prompt_tokens": 9, "completion_tokens": 9}}),
    ],
)
def test_a_paid_response_that_cannot_be_read_is_not_paid_again_in_this_run(body, asked):
    outcome, requests = asked(failing(200, body.encode() if isinstance(body, str) else body), replays=False, retries=4)
    assert (outcome.kind, requests) == ("transport", 1)


@pytest.mark.parametrize("half", ["\ud83d", "\udc00 \ud83d"])
@pytest.mark.parametrize("where", ["content", "inner", "refusal", "model", "finish", "prose"])
def test_half_of_a_surrogate_pair_is_replaced_and_never_paid_twice(half, where, asked):
    told = json.dumps(GOOD | {"explanation": f"x{half}"}, ensure_ascii=where == "inner")
    act = {
        "content": says(told),
        "inner": says(told),
        "refusal": says(None, refusal=f"no {half}"),
        "model": says(OBJECT, model=f"m{half}"),
        "finish": says(OBJECT, finish=f"stop{half}"),
        "prose": says(f"{half} {told} {half}"),
    }[where]
    outcome, requests = asked(act)
    assert requests == 1
    assert "\ufffd" in repr(outcome) or where == "finish"
    repr(outcome).encode()


def test_a_whole_pair_stays_what_it_is(asked):
    outcome, _ = asked(says(json.dumps(GOOD | {"explanation": "\U0001f600"})))
    assert outcome.value.explanation == "\U0001f600"


OPENAI_FILTER = {
    "error": {"message": "flagged", "type": "invalid_request_error", "param": None, "code": "invalid_prompt"}
}
AZURE_FILTER = {
    "error": {
        "message": "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
        "type": None,
        "param": "prompt",
        "code": "content_filter",
        "status": 400,
        "innererror": {
            "code": "ResponsibleAIPolicyViolation",
            "content_filter_result": {"violence": {"filtered": True, "severity": "medium"}},
        },
    }
}
ROUTER_FILTER = {
    "error": {
        "code": 403,
        "message": "Your input was flagged",
        "metadata": {"reasons": ["violence"], "flagged_input": "row", "provider_name": "x"},
    }
}
FILTERS = {
    "OpenAI": failing(400, OPENAI_FILTER),
    "Azure": failing(400, AZURE_FILTER),
    "Azure, inner": failing(400, {"error": {"code": "400", "innererror": {"code": "ResponsibleAIPolicyViolation"}}}),
    "OpenAI, pictures": error(400, "content_policy_violation"),
    "Alibaba": error(400, "data_inspection_failed"),
    "OpenRouter": failing(403, ROUTER_FILTER),
    "OpenRouter in a 200": failing(200, ROUTER_FILTER),
    "a word in a 200": failing(200, {"error": {"code": "content_filter", "message": "no"}}),
    "the reply": says("", finish="content_filter"),
    "the reply, in part": says(OBJECT[:20], finish="content_filter"),
}


@pytest.mark.parametrize("act", FILTERS.values(), ids=FILTERS)
def test_a_filtered_question_is_named_so_asked_once_and_replayed(act, asked):
    outcome, requests = asked(act)
    assert (outcome.kind, requests) == ("content_filter", 1)


def test_five_filtered_questions_at_the_start_do_not_stop_the_run(question, config, store):
    with FaultServer(lambda row, _: FILTERS["Azure"] if int(row) < 5 else Act()) as server:
        asks = [question(i) for i in range(9)]
        outcomes = ask_all(asks, config=config(server, concurrency=1), store=store(), what="t")
        assert [getattr(one, "kind", "answer") for one in outcomes] == ["content_filter"] * 5 + ["answer"] * 4
        assert ask_all(asks, config=config(server), store=store(), what="t") == outcomes
        assert len(server.seen) == 9
