import asyncio
import json

import httpx2
import pytest
from fault_server import answer
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict
from stakes import Metadata, SituationPair, StakesReply

from models_under_pressure.core.conversation import Message
from models_under_pressure.llm.ask import Ask
from models_under_pressure.llm.run import answer_all, run
from models_under_pressure.llm.session import Session
from models_under_pressure.llm.store import request_key

FIRST = "c089f80e54145cfbbfc371713925a9bdc61954520054f8d362b9e06d377e6dc1"
AGAIN = "d5d88869bb0c9808d55489ffd6682b906fd3eabd148d1fd9dd9125031684ab68"
SECOND_SAMPLE = "753011c0b80c076bf5e86d5cc767c8a451a256c4ea0a2d48e30834937a1cd2d5"
"""Frozen: a change here voids every reply that anyone has paid for."""


@pytest.fixture
def keys(question, config, store):
    """Keys of the two requests of a question whose first reply does not fit."""

    def keys(sample=0, **changes):
        bodies = []

        def respond(request):
            bodies.append(json.loads(request.content))
            return httpx2.Response(200, content=answer(stakes=11 if len(bodies) == 1 else 7).body)

        asyncio.run(
            answer_all(
                [question(1, sample=sample)],
                config=config(mode="refresh", **changes),
                store=store(),
                what="t",
                transport=httpx2.MockTransport(respond),
            )
        )
        return [request_key(body, sample=sample) for body in bodies]

    return keys


def test_the_keys_of_requests_are_frozen(keys):
    assert keys() == [FIRST, AGAIN]
    assert keys(sample=1)[0] == SECOND_SAMPLE


@pytest.mark.parametrize(
    "same",
    [{"endpoint": "openrouter"}, {"endpoint": "http://127.0.0.1:1/v1"}, {"model": "openai/gpt-4o"}, {"retries": 1}],
)
def test_the_key_does_not_depend_on_who_is_asked_and_how(keys, same):
    assert keys(**same) == [FIRST, AGAIN]


@pytest.mark.parametrize("other", [{"temperature": 0}, {"seed": 1}, {"max_tokens": 9}, {"model": "gpt-4o-mini"}])
def test_the_key_depends_on_everything_that_shapes_the_reply(keys, other):
    assert keys(**other)[0] != FIRST


def body(**changes):
    return {"model": "m", "messages": [{"role": "user", "content": "hello"}]} | changes


def test_a_whole_number_is_the_same_number_as_a_float():
    assert request_key(body(temperature=0), sample=0) == request_key(body(temperature=0.0), sample=0)


def test_pydantics_version_in_a_quoted_error_is_no_part_of_the_key():
    def quoting(version):
        return body(messages=[{"role": "user", "content": f"see https://errors.pydantic.dev/{version}/v/int_type"}])

    assert request_key(quoting("2.12"), sample=0) == request_key(quoting("2.14"), sample=0)


@given(st.text(), st.text(), st.integers(0, 3), st.integers(0, 3))
def test_requests_share_a_key_only_if_they_are_equal(left, right, left_sample, right_sample):
    def key(text, sample):
        return request_key(body(messages=[{"role": "user", "content": text}]), sample=sample)

    assert (key(left, left_sample) == key(right, right_sample)) == ((left, left_sample) == (right, right_sample))


@given(st.dictionaries(st.sampled_from(["user", "stream", "provider", "metadata", "timeout"]), st.integers()))
def test_fields_that_do_not_shape_the_reply_are_no_part_of_the_key(extra):
    assert request_key(body(**extra), sample=0) == request_key(body(), sample=0)


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid")

    share: float


class Whole(BaseModel):
    """A form within a form."""

    model_config = ConfigDict(extra="forbid")

    parts: list[Part]
    name: str | None


@pytest.mark.parametrize("form", [StakesReply, SituationPair, Metadata, Part, Whole])
@pytest.mark.parametrize("endpoint", ["openai", "openrouter"])
def test_a_replay_without_the_libraries_looks_for_the_key_that_they_send(form, endpoint, config, store):
    settings = config(endpoint=endpoint, temperature=0.5, seed=3)
    ask = Ask("1", (Message("system", "{{ x }} é"), Message("user", '"a"\n')), form)
    outcomes = asyncio.run(run([ask], Session(settings, store(), online=False), what="t"))
    assert request_key(ask.body(settings), sample=0) == outcomes.missing[0].request.key
