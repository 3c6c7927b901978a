import pytest
from fault_server import completion
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from models_under_pressure.llm.ask import reply_schema
from models_under_pressure.llm.failures import error_in, parsed, status_of
from models_under_pressure.llm.reply import (
    Reply,
    Usage,
    completion_in,
    from_completion,
    from_row,
    to_completion,
    to_row,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["choices", "message", "content", "error", "code", "usage"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)
REPLIES = st.builds(
    Reply,
    content=st.none() | st.text(),
    refusal=st.none() | st.text(),
    finish_reason=st.none() | st.sampled_from(["stop", "length", "content_filter"]),
    model=st.text(min_size=1),
    usage=st.none() | st.builds(Usage, st.integers(0, 9999), st.integers(0, 9999), st.none() | st.floats(0, 9)),
)


@given(JSON)
def test_whatever_a_server_sends_is_a_completion_or_a_failure_with_a_status(body):
    if (found := completion_in(body)) is None:
        assert 400 <= status_of(200, body) <= 599
        assert isinstance(error_in(body), dict | None)
    else:
        from_completion(found)


@given(st.binary())
def test_bytes_that_are_no_json_are_no_completion(raw):
    assert completion_in(parsed(raw)) is None


@given(REPLIES)
def test_a_reply_survives_the_record_file_and_the_way_back_to_a_completion(reply):
    assert from_row(to_row("0" * 64, reply)) == reply
    sent = from_completion(to_completion(reply))
    assert (sent.content, sent.refusal, sent.model) == (reply.content, reply.refusal, reply.model)


def test_a_normal_completion_is_taken_apart():
    reply = from_completion(completion_in(parsed(completion("text"))) or {})
    assert reply == Reply("text", None, "stop", "gpt-4o-2024-08-06", Usage(100, 20))


class Inner(BaseModel):
    x: int


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    inner: Inner


class Optional(BaseModel):
    model_config = ConfigDict(extra="forbid")
    note: str = ""


@pytest.mark.parametrize(
    ("form", "message"), [(Outer, "Inner needs model_config"), (Optional, "optional fields: note")]
)
def test_forms_that_a_strict_schema_cannot_express_are_refused(form, message):
    with pytest.raises(TypeError, match=message):
        reply_schema(form)
