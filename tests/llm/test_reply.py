"""A reply is what the body of a completion says, part by part; what is of another form is absent."""

import pytest

from models_under_pressure.llm.reply import (
    Reply,
    Usage,
    checksum,
    completion_in,
    filtered_completion,
    from_completion,
    is_paid,
    to_completion,
    usage_in,
)

USAGE = {"prompt_tokens": 3, "completion_tokens": 4}


def completion(*, message=None, **changes):
    choice = {"index": 0, "finish_reason": "stop", "message": {"content": "text"} if message is None else message}
    return {"model": "m", "choices": [choice]} | changes


def test_each_part_of_a_completion_is_a_part_of_the_reply():
    body = completion(message={"content": "text", "refusal": "no"}, usage=USAGE | {"cost": 1})
    assert from_completion(body) == Reply("text", "no", "stop", "m", Usage(3, 4, 1.0))


@pytest.mark.parametrize("body", [{}, {"choices": []}, {"choices": 7}, {"choices": [7]}, {"choices": [{"message": 7}]}])
def test_a_completion_without_parts_is_a_reply_without_them(body):
    assert from_completion(body) == Reply(None, None, None, "unknown", None)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([{"type": "text", "text": "a"}, {"type": "x"}, 7, {"text": 7}, {"text": "b"}], "ab"),
        ([], ""),
        ({"text": "a"}, None),
        ("\ud83d\ude00\ud83d", "😀�"),
    ],
)
def test_the_content_is_its_parts_of_text_joined(content, text):
    assert from_completion(completion(message={"content": content})).content == text


def test_only_the_first_choice_counts():
    body = completion()
    body["choices"].append({"message": {"content": "second"}, "finish_reason": "length"})
    assert from_completion(body) == Reply("text", None, "stop", "m", None)


@pytest.mark.parametrize(
    ("reply", "ended"),
    [
        (Reply("{}", None, "stop", "m", None), None),
        (Reply("{}", "", "tool_calls", "m", None), None),
        (Reply(None, "I will not.", "length", "m", None), ("refusal", "I will not.")),
        (Reply("{", None, "length", "m", None), ("truncated", "the reply ran into max_tokens")),
        (Reply(None, None, "content_filter", "m", None), ("content_filter", "the endpoint filtered the reply")),
    ],
)
def test_a_reply_that_ended_early_says_why(reply, ended):
    assert reply.ended == ended


@pytest.mark.parametrize(
    ("cost", "known"),
    [(0, 0.0), (1, 1.0), (2**53, 2.0**53), (2**53 + 1, None), (-1e-9, None), ("1", None), (None, None)],
)
def test_a_cost_is_a_number_from_zero_to_what_a_float_holds(cost, known):
    assert usage_in({"usage": USAGE | {"cost": cost}}) == Usage(3, 4, known)


@pytest.mark.parametrize(("count", "is_one"), [(0, True), (2**53, True), (2**53 + 1, False), (-1, False), (1.0, False)])
def test_tokens_are_whole_numbers_from_zero(count, is_one):
    for name in USAGE:
        usage = usage_in({"usage": USAGE | {name: count}})
        assert (usage is not None) == is_one
    assert usage_in({}) is None
    assert usage_in({"usage": {"prompt_tokens": 1}}) is None


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        (completion(), True),
        (completion(usage=USAGE), True),
        ({"usage": USAGE}, True),
        ({"usage": USAGE | {"completion_tokens": 1}}, True),
        ({"usage": USAGE | {"completion_tokens": 0}}, False),
        ({"choices": []}, False),
        (completion(error={"code": 502}), False),
        ({"usage": USAGE, "error": "down"}, False),
        ("text", False),
        (None, False),
    ],
)
def test_what_was_paid_for_is_a_completion_whatever_it_holds(body, kept):
    assert completion_in(body) == (body if kept else None)


def test_a_body_is_paid_for_if_the_model_wrote_a_token():
    assert is_paid({"usage": USAGE | {"completion_tokens": 1}})
    assert not is_paid({"usage": USAGE | {"completion_tokens": 0}})
    assert not is_paid([])


def test_a_recorded_reply_is_sent_as_a_server_would_have_sent_it():
    assert to_completion(Reply("text", "no", "stop", "m", Usage(3, 4))) == {
        "id": "recorded",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [
            {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "text", "refusal": "no"}}
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
    }
    without = to_completion(Reply(None, None, None, "m", None))["usage"]
    assert without == {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


def test_a_filtered_question_is_kept_as_a_reply_that_ended_by_the_filter():
    body = filtered_completion("m")
    message = {"role": "assistant", "content": None, "refusal": None}
    assert body == {"model": "m", "choices": [{"index": 0, "finish_reason": "content_filter", "message": message}]}
    assert completion_in(body) == body
    assert from_completion(body) == Reply(None, None, "content_filter", "m", None)


def test_the_checksum_is_of_every_part_but_itself_in_any_order():
    row = {"key": "k", "content": "é", "model": "m"}
    assert checksum(row) == checksum(dict(reversed(row.items()))) == checksum(row | {"sha256": "x"})
    changed = [row | {name: "other"} for name in row] + [{"key": "k", "content": "é"}]
    assert len({checksum(one) for one in (row, *changed)}) == 5
