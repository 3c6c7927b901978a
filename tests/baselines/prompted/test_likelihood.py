"""Likelihoods are those of two whole passes in float64, whatever shares the pass with a prompt."""

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from stakes import load_template
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from models_under_pressure.activations.config import ModelConfig
from models_under_pressure.activations.model import load_language_model
from models_under_pressure.baselines.data import conversation_text
from models_under_pressure.baselines.prompted import likelihood as prompted_likelihood
from models_under_pressure.baselines.prompted.likelihood import PromptReader
from models_under_pressure.baselines.prompted.questions import Template, make_prompts
from models_under_pressure.core.errors import UserError

FAMILIES = {
    "llama": "default",
    "qwen3": "single_word",
    "phi": "single_letter",
    "gpt2": "default",
    "neox": "single_word",
    "bloom": "default",
    "mistral": "default",
    "gemma2": "prompt_at_end",
    "gemma3": "prompt_at_end",
    "gemma3_multimodal": "prompt_at_end",
}


def prompts_of(model, data, template):
    return make_prompts(data.records, template, model.tokenizer, name="tiny", max_tokens=4096)[0]


@contextmanager
def passes(model, most=None):
    """Tokens of each forward pass through a model that has memory for `most` of them."""
    lengths = []

    def look(_, __, inputs):
        size = inputs["input_ids"].shape[1]
        if most is not None and size > most:
            raise torch.OutOfMemoryError
        lengths.append(size)

    handle = model.model.register_forward_pre_hook(look, with_kwargs=True)
    yield lengths
    handle.remove()


def scored(model, prompts, budget=512, reader=None):
    found = dict((reader or PromptReader(model)).likelihoods(prompts, budget=budget))
    return np.array([(found[index].high, found[index].low) for index in range(len(prompts))])


@torch.no_grad()
def naive(directory, data, template):
    """Two passes per record in float64, straight from transformers."""
    tokenizer = AutoTokenizer.from_pretrained(directory)
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float64).eval()
    found = []
    for record in data.records:
        user = {"role": "user", "content": template.user.replace("{conversation}", conversation_text(record))}
        question = [user] if template.system is None else [{"role": "system", "content": template.system}, user]
        rows = []
        for reply in (template.high, template.low):
            text = tokenizer.apply_chat_template(
                [*question, {"role": "assistant", "content": reply}], tokenize=False, date_string="26 Jul 2024"
            )
            ids = tokenizer(text, add_special_tokens=False).input_ids
            while ids[-1] != tokenizer.eos_token_id:
                ids.pop()
            logits = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
            rows.append((ids, [float(logits[place - 1, ids[place]]) for place in range(1, len(ids))]))
        (high, high_values), (low, low_values) = rows
        start = next(place for place, pair in enumerate(zip(high, low, strict=False)) if pair[0] != pair[1])
        found.append((sum(high_values[start - 1 :]), sum(low_values[start - 1 :])))
    return np.array(found)


@pytest.mark.parametrize("family", FAMILIES)
def test_one_pass_gives_the_likelihoods_of_two_in_float64(
    family, language_model, language_model_directory, conversations
):
    template = load_template(FAMILIES[family])
    model = language_model(family)
    few = replace(conversations, records=conversations.records[:5])  # each text once
    expected = naive(language_model_directory(family), few, template)
    found = scored(model, prompts_of(model, few, template))
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-4)
    assert np.ptp(expected[:, 0] - expected[:, 1]) > 0.02, "the test would not see a mistake"


@pytest.mark.parametrize("family", ["llama", "mistral", "gemma3_multimodal"])
def test_prompts_share_a_row_where_the_attention_allows_it(family, language_model, conversations):
    model = language_model(family)
    prompts = prompts_of(model, conversations, load_template("prompt_at_end"))
    with passes(model) as lengths:
        scored(model, prompts, budget=100_000)
    check, rows = lengths[:5], lengths[5:]
    assert len(check) == 5
    assert len(rows) == 1
    assert rows[0] < sum(prompt.tokens for prompt in prompts)


@pytest.fixture
def on_cores():
    """Set how many cores there are, for a while."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_scores_are_the_same_bits_in_any_batch_order_and_on_any_number_of_cores(
    language_model, conversations, on_cores
):
    model = language_model("llama")
    prompts = prompts_of(model, conversations, load_template("default"))
    on_cores(1)
    alone = scored(model, prompts, budget=1)
    for cores, budget in ((1, 300), (2, 300), (2, 900), (3, 100_000)):
        on_cores(cores)
        np.testing.assert_array_equal(scored(model, prompts, budget=budget), alone)
    order = np.random.default_rng(0).permutation(len(prompts))
    shuffled = scored(model, [prompts[index] for index in order], budget=900)
    np.testing.assert_array_equal(shuffled, alone[order])
    np.testing.assert_allclose(scored(model, prompts[3:4]), alone[3:4], rtol=1e-5, atol=1e-4)  # another root


def test_prompts_of_the_same_tokens_are_read_once_and_tie(language_model, conversations, monkeypatch):
    model = language_model("llama")
    prompts = prompts_of(model, conversations, load_template("default"))[:4]
    alone = scored(model, prompts)
    read = []
    rows = prompted_likelihood.make_row
    monkeypatch.setattr(prompted_likelihood, "make_row", lambda batch, root: read.extend(batch) or rows(batch, root))
    found = scored(model, [*prompts, *reversed(prompts)])
    np.testing.assert_array_equal(found[:4], found[:3:-1])
    np.testing.assert_array_equal(found[:4], alone)
    assert sum(prompt is one for one in read for prompt in prompts) <= 4 + 2  # two more by the check of branches


def test_in_bfloat16_the_batch_moves_scores_by_less_than_its_rounding(
    language_model_directory, conversations, on_cores
):
    model = load_language_model(ModelConfig(name=str(language_model_directory("llama")), dtype="bfloat16"))
    prompts = prompts_of(model, conversations, load_template("single_word"))
    exact = naive(language_model_directory("llama"), conversations, load_template("single_word"))
    on_cores(1)
    alone = scored(model, prompts, budget=1)
    rounding = np.abs(alone - exact).max()
    for cores, budget in ((1, 300), (2, 900), (2, 100_000)):
        on_cores(cores)
        assert np.abs(scored(model, prompts, budget=budget) - alone).max() <= rounding


def test_a_pad_token_that_ends_turns_cuts_nothing(language_model, conversations):
    model = language_model("llama")
    template = load_template("single_letter")
    assert model.tokenizer.pad_token_id == model.tokenizer.eos_token_id
    with_end_as_pad = prompts_of(model, conversations, template)
    assert all(prompt.high[-1] == prompt.low[-1] == model.tokenizer.eos_token_id for prompt in with_end_as_pad)
    assert all(np.count_nonzero(prompt.shared == model.tokenizer.eos_token_id) == 2 for prompt in with_end_as_pad)
    model.tokenizer.pad_token = "A"
    another_pad = prompts_of(model, conversations, template)
    assert np.array_equal(scored(model, with_end_as_pad), scored(model, another_pad))


def test_replies_that_begin_alike_are_compared_from_where_they_part(language_model, conversations):
    model = language_model("llama")
    for prompt in prompts_of(model, conversations, load_template("default")):
        assert model.tokenizer.decode(prompt.shared).endswith("I judge this conversation to be ")
        assert model.tokenizer.decode(prompt.high) == "high-stakes.<|eot_id|>"
        assert model.tokenizer.decode(prompt.low) == "low-stakes.<|eot_id|>"


def test_a_reply_that_continues_the_other_is_compared_with_its_end(
    language_model, language_model_directory, conversations
):
    template = Template("longer", user="{conversation}", high="yes", low="yes indeed")
    model = language_model("llama")
    prompts = prompts_of(model, conversations, template)
    assert all(prompt.high.tolist() == [model.tokenizer.eos_token_id] for prompt in prompts)
    expected = naive(language_model_directory("llama"), conversations, template)
    np.testing.assert_allclose(scored(model, prompts), expected, rtol=1e-5, atol=1e-4)


def test_likelihoods_of_a_bfloat16_model_are_not_rounded_to_bfloat16(language_model_directory, conversations):
    config = ModelConfig(name=str(language_model_directory("llama")), dtype="bfloat16")
    model = load_language_model(config)
    prompts = prompts_of(model, conversations, load_template("single_letter"))
    scores = np.subtract(*scored(model, prompts).T)
    rounded = torch.tensor(scores).bfloat16().double().numpy()
    assert not np.isclose(scores, rounded, rtol=0, atol=1e-6).any()
    head = model.model.get_output_embeddings()
    states = torch.randn(1, 3, 32).bfloat16()
    with prompted_likelihood._precise_head(model.model), torch.inference_mode():
        logits = head(states)
    assert torch.equal(logits, states.float() @ head.weight.float().T)
    assert head(states).dtype == torch.bfloat16


def test_a_full_memory_halves_the_batch_and_changes_nothing(language_model, conversations):
    model = language_model("llama")
    prompts, reader = prompts_of(model, conversations, load_template("default")), PromptReader(model)
    with passes(model) as whole:
        expected = scored(model, prompts, budget=100_000, reader=reader)
    with passes(model, most=max(whole) - 1) as parts:
        found = scored(model, prompts, budget=100_000, reader=reader)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)
    assert len(parts) == 2
    with passes(model, most=0), pytest.raises(UserError, match="memory does not hold"):
        scored(model, prompts, reader=reader)


@pytest.mark.parametrize("width", ["8bit", "4bit"])
def test_a_quantised_model_is_asked_on_a_cpu_too(width, language_model_directory, conversations, tmp_path):
    origin = language_model_directory("llama")
    sizes = {"hidden_size": 128, "intermediate_size": 256, "head_dim": 32}  # whole blocks of 64 numbers
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(origin, **sizes)).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(origin).save_pretrained(tmp_path)
    quantised, plain = (
        load_language_model(ModelConfig(name=str(tmp_path), dtype="float32", quantization=one))
        for one in (width, "none")
    )
    prompts = prompts_of(plain, conversations, load_template("single_word"))
    found, exact = scored(quantised, prompts), scored(plain, prompts)
    assert not np.array_equal(found, exact)
    np.testing.assert_allclose(found, exact, rtol=0.05)
