import asyncio
import json
from enum import StrEnum

import httpx2
import pytest
from fault_server import answer
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict
from stakes import Metadata, SituationPair, StakesReply

from models_under_pressure.core.conversation import Message
from models_under_pressure.llm.ask import Ask, form_name, load_prompt, reply_schema
from models_under_pressure.llm.run import answer_all, run
from models_under_pressure.llm.session import Session
from models_under_pressure.llm.store import keyed_request, request_key

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


SHAPING = {
    "model": "other",
    "messages": [{"role": "system", "content": "hello"}],
    "response_format": {"type": "json_object"},
    "tools": [{"name": "dose"}],
    "tool_choice": "auto",
    "reasoning_effort": "low",
    "reasoning": {"effort": "low"},
    "seed": 1,
    "n": 2,
    "temperature": 0.5,
    "top_p": 0.5,
    "max_tokens": 9,
    "stop": ["x"],
    "frequency_penalty": 0.1,
    "presence_penalty": 0.1,
}


def test_every_field_that_shapes_the_reply_is_part_of_the_key_in_any_order():
    whole = body(**SHAPING)
    assert keyed_request(whole) == whole
    assert request_key(dict(reversed(whole.items())), sample=0) == request_key(whole, sample=0)
    keys = {request_key(body(**{name: value}), sample=0) for name, value in SHAPING.items()}
    assert len(keys | {request_key(body(), sample=0)}) == len(SHAPING) + 1


@pytest.mark.parametrize(
    ("spelled", "same"),
    [
        ({"max_completion_tokens": 9}, {"max_tokens": 9}),
        ({"model": "openai/m"}, {"model": "m"}),
        ({"temperature": 0, "top_p": 1}, {"temperature": 0.0, "top_p": 1.0}),
        ({"temperature": None, "top_p": None, "seed": None, "stop": None}, {}),
        ({"messages": [{"role": "user", "content": "hello"}], "user": "x"}, {}),
    ],
)
def test_a_request_has_one_spelling_per_meaning(spelled, same):
    before = json.dumps(body(**spelled))
    request = body(**spelled)
    assert json.dumps(keyed_request(request)) == json.dumps(keyed_request(body(**same)))
    assert json.dumps(request) == before, "what is sent stays as it is"


@pytest.mark.parametrize("other", [{"model": "azure/m"}, {"model": "m/openai/"}, {"messages": []}, {"temperature": 1}])
def test_requests_of_other_meaning_have_other_keys(other):
    assert request_key(body(**other), sample=0) != request_key(body(), sample=0)


def test_parts_of_a_message_that_are_no_text_stay_as_they_are():
    messages = [{"role": "assistant", "content": None, "tool_calls": [{"id": "https://errors.pydantic.dev/2.1/"}]}]
    assert keyed_request(body(messages=messages))["messages"] == messages


def test_only_pydantics_version_is_left_out_of_a_quoted_error():
    told = body(messages=[{"role": "user", "content": "2.12/v https://errors.pydantic.dev/2.12/v/int_type 3.1/"}])
    (message,) = keyed_request(told)["messages"]
    assert message["content"] == "2.12/v https://errors.pydantic.dev/v/int_type 3.1/"


def test_the_body_of_a_question_has_its_turns_its_strict_form_and_the_sampling(config):
    ask = Ask("1", (Message("system", "Rate."), Message("user", "row")), Part)
    assert ask.body(config(temperature=0, seed=3, max_tokens=9)) == {
        "messages": [{"role": "system", "content": "Rate."}, {"role": "user", "content": "row"}],
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "Part", "schema": Part.model_json_schema(), "strict": True},
        },
        "model": "gpt-4o",
        "max_completion_tokens": 9,
        "temperature": 0,
        "seed": 3,
    }


class Open(BaseModel):
    share: float


class OptionalParts(BaseModel):
    model_config = ConfigDict(extra="forbid")

    b: int = 1
    a: str = ""
    c: float


class Color(StrEnum):
    RED = "red"


class Within(BaseModel):
    model_config = ConfigDict(extra="forbid")

    color: Color
    one: Open


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        (Open, 'Open needs model_config = ConfigDict(extra="forbid")'),
        (Within, 'Open needs model_config = ConfigDict(extra="forbid")'),
        (OptionalParts, "OptionalParts has optional fields: a, b; give them no default"),
    ],
)
def test_a_form_that_endpoints_refuse_says_what_is_wrong_with_it(form, reason):
    with pytest.raises(TypeError) as caught:
        reply_schema(form)
    assert str(caught.value) == reason


@pytest.mark.parametrize(
    ("words", "name"), [("high_stakes", "HighStakes"), ("is it ok", "IsItOk"), ("highStakes", "HighStakes"), ("", "")]
)
def test_words_become_the_name_of_a_form(words, name):
    assert form_name(words) == name


def test_a_prompt_is_the_text_of_its_file(tmp_path, monkeypatch):
    package = tmp_path / "some_prompts_of_a_test"
    (package / "prompts").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "prompts" / "p.txt").write_text("é {x}\n", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    assert load_prompt(package.name, "p") == "é {x}\n"
    with pytest.raises(FileNotFoundError):
        load_prompt(package.name, "q")


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
