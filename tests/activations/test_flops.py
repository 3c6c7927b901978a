"""FLOPs are what PyTorch's own counter finds: token by token, where attention costs what a causal model needs."""

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForCausalLM

from models_under_pressure.activations.config import EMBEDDED_MODEL, ModelConfig
from models_under_pressure.activations.flops import (
    architecture_of,
    forward_flops,
    probe_flops,
    read_architecture,
    training_step_flops,
)
from models_under_pressure.core.errors import UserError

FAMILIES = ["llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3", "gemma3_multimodal", "phi", "gpt2", "neox"]


def counted(run) -> int:
    counter = FlopCounterMode(display=False)
    with counter:
        run()
    return counter.get_total_flops()


def causal_model(directory):
    config = AutoConfig.from_pretrained(directory)
    return config, AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_a_forward_pass_costs_what_the_profiler_counts_token_by_token(family, model_directory):
    config, model = causal_model(model_directory(family))
    length = 21  # beyond the window of 16

    def step_by_step():
        cache = None
        for token in torch.arange(length):
            found = model(input_ids=token[None, None], past_key_values=cache, use_cache=True)
            cache = found.past_key_values

    flops = forward_flops(architecture_of(config), length, head_tokens=length)
    assert counted(step_by_step) == flops


@torch.no_grad()
def test_extraction_at_a_layer_runs_the_blocks_below_it(model_directory):
    config, _ = causal_model(model_directory("llama"))
    whole = architecture_of(config)
    config.num_hidden_layers = 2
    shorter = architecture_of(config)
    assert forward_flops(whole, 50, layer=2) == forward_flops(shorter, 50)
    assert forward_flops(whole, 50, layer=0) == 0
    with pytest.raises(ValueError, match="layer 5 is outside 0 to 4"):
        forward_flops(whole, 50, layer=5)


def test_tokens_after_a_kept_prefix_complete_the_cost_of_the_whole(model_directory):
    for family in ("llama", "gemma3"):
        architecture = architecture_of(AutoConfig.from_pretrained(model_directory(family)))
        prefix, rest = np.array([1, 9, 16, 40]), np.array([30, 7, 1, 2])
        parts = forward_flops(architecture, prefix) + forward_flops(architecture, rest, past=prefix)
        assert np.array_equal(parts, forward_flops(architecture, prefix + rest))


def test_a_training_step_costs_three_forward_passes(model_directory):
    config, model = causal_model(model_directory("llama"))
    length = 12
    tokens = torch.arange(length)[None]

    def step():
        model(input_ids=tokens).logits.sum().backward()

    architecture = architecture_of(config)
    # a kernel without causal knowledge compares every pair of tokens
    pairs = length * length - length * (length + 1) // 2
    attention = 4 * sum(block.attention * pairs for block in architecture.blocks)
    forward = int(forward_flops(architecture, length, head_tokens=length)) + attention
    found = counted(step)
    assert found == pytest.approx(training_step_flops(forward), rel=1e-3)
    assert training_step_flops(forward, checkpointing=True) == 4 * forward


def test_a_step_that_trains_adapters_leaves_out_the_gradients_of_frozen_weights(model_directory):
    config, model = causal_model(model_directory("llama"))
    model.requires_grad_(False)
    embedded = model.get_input_embeddings()(torch.arange(12)[None]).requires_grad_()

    def forward():
        return model(inputs_embeds=embedded).logits.sum()

    linear = 2 * sum(block.weights for block in architecture_of(config).blocks) * 12 + 2 * 32 * 512 * 12
    attention_products = counted(forward) - linear
    step = counted(lambda: forward().backward())
    # attention has no weights: both of its backward products are gradients of inputs
    assert step == pytest.approx(training_step_flops(linear, trains="adapters") + 3 * attention_products, rel=1e-3)


def test_a_linear_probe_multiplies_each_token_with_each_direction():
    probe, query = torch.nn.Linear(576, 1), torch.nn.Linear(576, 1)
    tokens = torch.randn(30, 576)
    assert counted(lambda: probe(tokens)) == probe_flops(576, 30)
    assert counted(lambda: (probe(tokens), query(tokens))) == probe_flops(576, 30, directions=2)


def test_active_experts_are_counted_and_idle_ones_are_not():
    from transformers import MixtralConfig

    config = MixtralConfig(
        vocab_size=512,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_local_experts=8,
        num_experts_per_tok=2,
    )
    attention, router, expert = 32 * 32 * 2 + 32 * 16 * 2, 32 * 8, 3 * 32 * 48
    assert [block.weights for block in architecture_of(config).blocks] == [attention + router + 2 * expert] * 2


def test_blocks_that_do_not_attend_are_refused():
    from transformers import MambaConfig

    config = MambaConfig(vocab_size=512, hidden_size=32, num_hidden_layers=2)
    config.num_attention_heads = 4
    with pytest.raises(UserError, match="linear_attention"):
        architecture_of(config)


def test_the_embedded_model_costs_twice_its_parameters_per_token_and_attention():
    architecture = read_architecture(ModelConfig(name=EMBEDDED_MODEL))
    blocks = 30 * (2 * 576 * 576 + 2 * 576 * 192 + 3 * 576 * 1536)
    tokens = np.array([1, 100, 1000])
    attention = 30 * 4 * 576 * tokens * (tokens + 1) // 2
    assert np.array_equal(forward_flops(architecture, tokens), 2 * blocks * tokens + attention)
    assert forward_flops(architecture, 0, head_tokens=1) == 2 * 576 * 49152
