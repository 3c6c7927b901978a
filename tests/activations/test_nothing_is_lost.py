"""Whatever a record says is in its tokens, or counted as left out, or the record is refused by name."""

import dataclasses
import json

import numpy as np
import pytest
from chat_styles import STYLES, styled_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st

from models_under_pressure.activations.chat import ChatTemplate
from models_under_pressure.activations.ragged import ASSISTANT, SYSTEM, TEMPLATE, THINKING, TOOL, USER
from models_under_pressure.activations.tokens import RefusedError, tokenise
from models_under_pressure.core.conversation import Message, ToolCall
from models_under_pressure.core.records import Record


@pytest.fixture(scope="module")
def tokenizers():
    return {name: styled_tokenizer(name) for name in STYLES}


def read(record, tokenizer, **settings):
    """The tokens of a record, if it is not refused, and the report."""
    limits = {"name": "m", "max_tokens": 100_000, "truncation_side": "right", "allow_refused": None}
    tokenised, report = tokenise([record], tokenizer, **limits | settings)
    return (tokenised or [None])[0], report


def told(records, tokenizer):
    """All that a user can see of each record."""
    named = [dataclasses.replace(record, id=str(number)) for number, record in enumerate(records)]
    limits = {"name": "m", "max_tokens": 100_000, "truncation_side": "right"}
    tokenised, report = tokenise(named, tokenizer, **limits, allow_refused=None)
    tokens = {one.id: (one.token_ids.tolist(), one.roles.tolist()) for one in tokenised}
    template = ChatTemplate(tokenizer, "m")
    return [
        one.id not in report.refused
        and (*tokens[one.id], report.left_out.get(one.id), template.render(one.messages, one.tools, record="c").changes)
        for one in named
    ]


def spoken(tokenised, tokenizer, code):
    """The text of the tokens of one role."""
    ids = tokenised.token_ids[tokenised.roles == code]
    if "Metaspace" in str(tokenizer.backend_tokenizer.decoder):
        return "".join(tokenizer.convert_ids_to_tokens(ids)).replace("\u2581", " ")
    return tokenizer.decode(ids, clean_up_tokenization_spaces=False)


pieces = st.sampled_from(
    ["a", "b c", " ", "\n", "é", "{", '"', "<think>", "</think>", "<|end|>", "<|im_end|>", "</s>", "1"]
)
texts = st.lists(pieces, min_size=1, max_size=5).map("".join)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=4,
)
calls = st.builds(
    ToolCall,
    st.sampled_from(["dose", "find"]),
    st.dictionaries(texts, values, max_size=2).map(json.dumps) | texts,
    st.none() | st.sampled_from(["c1", "abcdefghi"]),
)
names = st.none() | st.sampled_from(["Ada", "dose"])
messages = st.one_of(
    st.builds(Message, st.sampled_from(["system", "developer", "user"]), texts, name=names),
    st.builds(Message, st.just("assistant"), texts, thinking=st.just("") | texts),
    st.builds(
        Message,
        st.just("assistant"),
        st.just("") | texts,
        thinking=st.just("") | texts,
        tool_calls=st.lists(calls, min_size=1, max_size=2).map(tuple),
    ),
    st.builds(
        Message, st.just("tool"), texts, name=names, tool_call_id=st.none() | st.sampled_from(["c1", "abcdefghi"])
    ),
)
tools = st.builds(
    lambda name, description, extra: {
        "type": "function",
        "function": {"name": name, "description": description, "parameters": {"type": "object", "properties": extra}},
    },
    st.sampled_from(["dose", "find"]),
    texts,
    st.dictionaries(texts, values, max_size=2),
)
records = st.builds(
    lambda turns, tools: Record("c", tuple(turns), tools=tuple(tools)),
    st.lists(messages, min_size=1, max_size=5),
    st.lists(tools, max_size=2),
)


def with_turn(record, place, **fields):
    turns = list(record.messages)
    turns[place] = dataclasses.replace(turns[place], **fields)
    return dataclasses.replace(record, input=tuple(turns))


def variants(record):
    """(what, record) with one field deleted or changed."""
    for place, message in enumerate(record.messages):
        yield from ((f"turn {place}: {what}", one) for what, one in variants_of_turn(record, place, message))
    for number, tool in enumerate(record.tools):
        others = record.tools[:number] + record.tools[number + 1 :]
        function = tool["function"]
        changed = {
            "without description": {name: value for name, value in function.items() if name != "description"},
            "without parameters": {name: value for name, value in function.items() if name != "parameters"},
            "with another key": {**function, "return": "z"},
        }
        yield f"tool {number} deleted", dataclasses.replace(record, tools=others)
        for what, other in changed.items():
            yield f"tool {number} {what}", dataclasses.replace(record, tools=(*others, {**tool, "function": other}))


def variants_of_turn(record, place, message):
    if len(record.messages) > 1:
        others = record.messages[:place] + record.messages[place + 1 :]
        yield "deleted", dataclasses.replace(record, input=others)
    roles = {"system", "developer", "user", "assistant", "tool"} - {message.role}
    for role in sorted(roles) if message.content.strip() else ():  # of a blank turn a template may leave nothing
        yield f"role {role}", with_turn(record, place, role=role)
    for field in ("content", "thinking", "name", "tool_call_id"):
        if value := getattr(message, field):
            nothing = "" if field in ("content", "thinking") else None
            for what, other in (("deleted", nothing), ("longer", value + "z"), ("indented", " " + value)):
                yield f"{field} {what}", with_turn(record, place, **{field: other})
    for number, call in enumerate(message.tool_calls):
        before, after = message.tool_calls[:number], message.tool_calls[number + 1 :]
        yield f"call {number} deleted", with_turn(record, place, tool_calls=before + after)
        for field in ("name", "arguments", "id"):
            if value := getattr(call, field):
                longer = dataclasses.replace(call, **{field: value + "z"})
                yield f"{field} of call {number} longer", with_turn(record, place, tool_calls=(*before, longer, *after))
        if call.id:
            nameless = dataclasses.replace(call, id=None)
            yield f"id of call {number} deleted", with_turn(record, place, tool_calls=(*before, nameless, *after))


@pytest.mark.parametrize("name", STYLES)
@settings(max_examples=20)
@given(record=records, data=st.data())
def test_a_field_that_is_deleted_or_changed_changes_the_tokens_or_what_is_counted(name, record, data, tokenizers):
    whats, changed = zip(*variants(record), strict=True)
    chosen = data.draw(st.lists(st.integers(0, len(whats) - 1), max_size=6, unique=True))
    whole, *others = told([record, *(changed[number] for number in chosen)], tokenizers[name])
    for number, other in zip(chosen, others, strict=True):
        assert whole != other or whole is False, whats[number]  # False: both are refused by name


TOOLS = (
    {
        "type": "function",
        "function": {
            "name": "dose",
            "description": "How much.",
            "parameters": {"type": "object", "properties": {"kg": {"type": "number", "minimum": 1}}},
        },
    },
)
AGENT = (
    Message("user", "How much?"),
    Message("assistant", "", thinking="Heavy, so more.", tool_calls=(ToolCall("dose", '{"kg": 80}', "c12345678"),)),
    Message("tool", "40 mg", tool_call_id="c12345678"),
    Message("assistant", "40 mg then."),
)
NATIVE = {"llama_3": ("tools", "calls"), "qwen_2_5": ("tools", "calls"), "mistral": ("tools", "calls")}
NATIVE |= {"qwen_3": ("tools", "calls", "reasoning")}
WORDS = {"tools": "tool definitions as text", "calls": "tool calls as text", "reasoning": "reasoning as a <think>"}


@pytest.mark.parametrize("name", STYLES)
def test_an_agents_turns_are_told_natively_where_the_template_takes_them_and_else_as_counted_text(name, tokenizers):
    alone = name in ("llama_3", "mistral")  # their calls come without any content
    agent = dataclasses.replace(AGENT[1], thinking="") if alone else AGENT[1]
    record = Record("c", (AGENT[0], agent, *AGENT[2:]), tools=TOOLS)
    tokenised, report = read(record, tokenizers[name])
    assert report.refused == {}
    for kind, words in WORDS.items():
        is_text = any(one.startswith(words) for one in report.normalised)
        has_it = kind != "reasoning" or agent.thinking
        assert is_text == (bool(has_it) and kind not in NATIVE.get(name, ())), kind
    assert spoken(tokenised, tokenizers[name], TOOL).strip() == "40 mg"
    assert '"minimum": 1' in spoken(tokenised, tokenizers[name], SYSTEM)
    assert '"kg": 80' in spoken(tokenised, tokenizers[name], ASSISTANT)


@pytest.mark.parametrize("name", STYLES)
def test_thinking_and_tool_tokens_begin_and_end_with_what_is_thought_and_replied(name, tokenizers):
    turns = (AGENT[0], Message("assistant", "4", thinking="two and two"), Message("tool", "ok"), Message("user", "Go"))
    last = (Message("user", "Two and two?"), Message("assistant", "4", thinking="two and two"))
    tokenised, _ = read(Record("c", last), tokenizers[name])
    if name != "deepseek_r1":  # strips it
        assert spoken(tokenised, tokenizers[name], THINKING).strip() == "two and two"
    assert spoken(tokenised, tokenizers[name], ASSISTANT).strip() == "4"
    assert spoken(tokenised, tokenizers[name], USER).strip() == "Two and two?"
    tokenised, _ = read(Record("c", turns), tokenizers[name])
    assert spoken(tokenised, tokenizers[name], TOOL).strip() == "ok"


BLOCK = "<think>A</think>4"


@pytest.mark.parametrize(
    ("name", "later", "lost"),
    [
        ("deepseek_r1", False, 16),
        ("deepseek_r1", True, 16),
        ("qwen_3", True, 16),
        ("qwen_3", False, 0),
        ("llama_3", True, 0),
    ],
)
def test_a_think_block_that_a_template_strips_is_counted_in_an_earlier_turn_and_in_the_last(
    name, later, lost, tokenizers
):
    turns = (Message("user", "2+2?"), Message("assistant", BLOCK), *([Message("user", "And?")] if later else []))
    tokenised, report = read(Record("c", turns), tokenizers[name])
    assert report.left_out == ({"c": lost} if lost else {})
    assert spoken(tokenised, tokenizers[name], THINKING).strip() == ("" if lost else "A")
    assert spoken(tokenised, tokenizers[name], ASSISTANT).strip() == "4"
    strict, report = read(Record("c", turns), tokenizers[name], strict=True)
    assert (strict is None) == bool(lost)
    if lost:
        assert report.refused == {"c": "the chat template of m leaves out 16 characters."}


def test_white_space_that_a_template_strips_is_counted_and_that_which_it_keeps_is_not(tokenizers):
    record = Record("c", (Message("user", "  Hi \n"), Message("assistant", "Yes ")))
    assert read(record, tokenizers["llama_3"])[1].left_out == {"c": 5}
    assert read(record, tokenizers["smollm"])[1].left_out == {}


@pytest.mark.parametrize("name", STYLES)
@pytest.mark.parametrize(
    "text", ["Hi", "  Hi", "\n\n Hi", "Hi there {spelled} you", "{spelled}", " {spelled} {spelled}\n"]
)
def test_every_text_gets_the_same_template_tokens_and_no_special_token_is_a_users(name, text, tokenizers):
    tokenizer = tokenizers[name]
    spelled = STYLES[name].markers[-1]
    plain, _ = read(Record("a", (Message("user", "Hi"), Message("assistant", "Yes"))), tokenizer)
    other, report = read(
        Record("b", (Message("user", text.format(spelled=spelled)), Message("assistant", "Yes"))), tokenizer
    )
    specials = [number for number, token in tokenizer.added_tokens_decoder.items() if token.special]
    of_template = [ids[np.isin(ids, specials)].tolist() for ids in (plain.token_ids, other.token_ids)]
    assert of_template[0] == of_template[1]
    assert (other.roles[np.isin(other.token_ids, specials)] == TEMPLATE).all()
    assert (plain.roles == TEMPLATE).sum() == (other.roles == TEMPLATE).sum()
    heard = spoken(other, tokenizer, USER).replace(" ", "")
    assert heard.strip() == text.format(spelled=spelled).replace(" ", "").strip()
    assert bool(report.neutralised) == ("spelled" in text)
    if STYLES[name].rstrip and text != text.lstrip():
        assert report.left_out == {"b": len(text) - len(text.lstrip())}


def test_a_refused_record_is_skipped_up_to_the_number_allowed_and_the_others_are_read(tokenizers):
    broken = [Record(id_, "half \ud83d") for id_ in ("b", "d")]
    whole = [Record(id_, "whole") for id_ in ("a", "c")]
    limits = {"name": "m", "max_tokens": 100, "truncation_side": "right"}
    tokenised, report = tokenise([*broken, *whole], tokenizers["smollm"], **limits, allow_refused=2)
    assert [one.id for one in tokenised] == ["a", "c"]
    assert list(report.refused) == ["b", "d"]
    with pytest.raises(RefusedError, match=r"2 records are refused, 1 may be.*record 'b': .*lone surrogate.*'d'"):
        tokenise([*broken, *whole], tokenizers["smollm"], **limits, allow_refused=1)


def test_a_record_that_shares_its_words_with_the_marks_is_read_all_the_same(tokenizers):
    record = Record("c", (Message("user", "mupslota0q mupslotz"), Message("assistant", "x", thinking="mupslotb0q")))
    tokenised, report = read(record, tokenizers["qwen_3"])
    assert spoken(tokenised, tokenizers["qwen_3"], THINKING) == "mupslotb0q"
    assert report.left_out == {}
