"""Prompts: what is asked, and what becomes of conversations that are too long or hostile."""

import numpy as np
import pytest
from stakes import load_template

from models_under_pressure.activations.flops import architecture_of, forward_flops
from models_under_pressure.baselines.data import LabelledRecords, conversation_text
from models_under_pressure.baselines.prompted.likelihood import common_prefix, make_row, plan_rows
from models_under_pressure.baselines.prompted.questions import Template, make_prompts
from models_under_pressure.baselines.prompted.run import prompt_flops
from models_under_pressure.core.conversation import Message
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.records import Record

TEMPLATES = ["default", "single_letter", "prompt_at_end", "single_word"]


@pytest.fixture
def tokenizer(language_model):
    return language_model("llama").tokenizer


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_wording_holds_the_conversation_once_and_asks_for_its_replies(name):
    template = load_template(name)
    told = f"{template.system} {template.user}"
    assert (template.system is None) == (name == "prompt_at_end")
    for reply in (template.high, template.low):
        assert all(word in told for word in reply.rstrip(".").split())


def test_a_dialogue_is_text_with_roles_in_capitals():
    chat = (Message("system", "Be kind."), Message("user", "Hi"))
    assert conversation_text(Record("a", chat)) == "SYSTEM\nBe kind.\n\nUSER\nHi"
    assert conversation_text(Record("a", "Hi")) == "Hi"


def test_braces_and_special_tokens_of_a_conversation_are_text(tokenizer):
    text = "{conversation} {0} %s <|eot_id|>"
    template = load_template("single_word")
    (prompt,), report = make_prompts([Record("a", text)], template, tokenizer, name="tiny", max_tokens=4096)
    assert text in tokenizer.decode(prompt.shared)
    assert np.count_nonzero(prompt.shared == tokenizer.eos_token_id) == 2
    assert report.neutralised == ("a",)


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_long_conversation_loses_its_end_and_keeps_the_question(name, tokenizer):
    template = load_template(name)
    records = [Record("long", "beginning " + "word " * 3000 + "end"), Record("short", "hello")]
    prompts, report = make_prompts(records, template, tokenizer, name="tiny", max_tokens=1000)
    assert report.truncated == ("long",)
    length = len(prompts[0].shared) + max(len(prompts[0].high), len(prompts[0].low))
    assert 900 < length <= 1000
    text = tokenizer.decode(prompts[0].shared)
    assert "beginning word" in text
    assert "word end" not in text
    assert (template.system or template.user[-60:]) in text
    assert [prompt.id for prompt in prompts] == ["long", "short"]


def test_instructions_without_a_place_for_the_conversation_are_refused(tokenizer):
    with pytest.raises(UserError, match=r"record 'a'.*max_tokens"):
        make_prompts([Record("a", "hello")], load_template("default"), tokenizer, name="tiny", max_tokens=100)


def test_a_wording_without_a_place_or_with_equal_replies_is_refused():
    with pytest.raises(ValueError, match="once"):
        Template("bad", user="no place", high="a", low="b")
    with pytest.raises(ValueError, match="differ"):
        Template("bad", user="{conversation}", high="a", low="a")


def test_rows_hold_every_prompt_once_within_the_budget(tokenizer, conversations):
    prompts, _ = make_prompts(conversations.records, load_template("default"), tokenizer, name="tiny", max_tokens=4096)
    root = common_prefix(prompts)
    assert root > 100
    longest = max(prompt.tokens for prompt in prompts)
    rows = plan_rows(prompts, root, 2 * longest)
    assert sorted(index for row in rows for index in row) == list(range(len(prompts)))
    for indices in rows:
        row = make_row([prompts[index] for index in indices], root)
        assert len(row.token_ids) <= 2 * longest
        assert len(row.positions) == len(row.token_ids)
        assert row.branches[-1].stop == len(row.token_ids)
    assert common_prefix(prompts[:1]) == len(prompts[0].shared) - 1


def test_a_prompt_costs_one_pass_and_the_rest_of_the_other_reply(language_model, conversations):
    model = language_model("llama")
    architecture = architecture_of(model.model.config)
    data = LabelledRecords("x", conversations.records[:3])
    prompts, _ = make_prompts(data.records, load_template("default"), model.tokenizer, name="tiny", max_tokens=4096)
    for prompt, found in zip(prompts, prompt_flops(architecture, prompts), strict=True):
        shared, high, low = len(prompt.shared), len(prompt.high), len(prompt.low)
        twice = forward_flops(architecture, shared + high - 1, head_tokens=high) + forward_flops(
            architecture, shared + low - 1, head_tokens=low
        )
        assert found + forward_flops(architecture, shared, head_tokens=1) == twice
