"""Every way to finetune learns, and says what it trains."""

import pytest
import torch

from models_under_pressure.baselines.finetuned.classifier import make_classifier
from models_under_pressure.baselines.finetuned.reading import reading, score
from models_under_pressure.baselines.finetuned.training import train
from models_under_pressure.evaluation.metrics import auroc

MODES = [
    {"method": "full", "optimiser": "adamw", "learning_rate": 2e-3},
    {"method": "full", "optimiser": "adamw", "learning_rate": 2e-3, "precision": "mixed"},
    {"method": "full", "optimiser": "adamw8bit", "learning_rate": 2e-3, "precision": "bfloat16"},
    {"method": "lora", "optimiser": "adamw8bit"},
    {"method": "lora", "optimiser": "adamw", "precision": "mixed", "gradient_checkpointing": True},
    {"method": "lora", "optimiser": "adamw", "precision": "bfloat16", "epochs": 16},
    {"method": "qlora", "optimiser": "adamw"},
    {"method": "qlora", "optimiser": "adamw8bit", "precision": "mixed", "gradient_checkpointing": True},
]
"""Each method, optimiser and precision, and most pairs of them."""


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES, ids=lambda mode: "-".join(str(value) for value in mode.values()))
def test_a_separable_set_is_learnt(mode, settings, split):
    config = settings(**{"epochs": 10, "patience": 16, "batch_tokens": 1024, "learning_rate": 1e-2} | mode)
    classifier = make_classifier(config, seed=0)
    data, validation, unseen = split(48), split(16, start=1000), split(32, start=2000)
    train(classifier, data, validation, config=config, seed=0)
    logits = score(classifier, unseen.records, batch_tokens=config.batch_tokens)
    assert auroc(logits, unseen.labels) >= 0.98  # another processor rounds bfloat16 otherwise


def test_adapters_leave_the_model_as_it_was(settings, split):
    config = settings(epochs=2)
    classifier = make_classifier(config, seed=0)
    frozen = {n: w.detach().clone() for n, w in classifier.decoder.named_parameters() if not w.requires_grad}
    train(classifier, split(16), split(8), config=config, seed=0)
    trained = classifier.trained
    assert {name.rpartition("lora_")[2].split(".")[0] for name in trained if not name.startswith("head.")} == {"A", "B"}
    assert len(trained) == 3 * 7 * 2 + 2  # blocks x linear layers x (A, B), and the head
    for name, weight in classifier.decoder.named_parameters():
        if name in frozen:
            assert torch.equal(weight, frozen[name])


def test_a_quantised_model_holds_its_weights_in_four_bits(settings):
    classifier = make_classifier(settings(method="qlora"), seed=0)
    base = classifier.decoder.layers[0].mlp.up_proj.base_layer.weight
    assert base.dtype is torch.uint8
    assert base.numel() == 64 * 128 // 2


def test_eight_bit_moments_are_eight_bit(settings, split):
    from models_under_pressure.baselines.finetuned.training import make_optimiser

    config = settings(method="full", optimiser="adamw8bit")
    classifier = make_classifier(config, seed=0)
    optimiser = make_optimiser(classifier.trained, config)
    for weight in classifier.trained.values():
        weight.grad = torch.ones_like(weight)
    optimiser.step()
    state = optimiser.state[classifier.trained["layers.0.mlp.up_proj.weight"]]
    assert state["state1"].dtype is state["state2"].dtype is torch.uint8


def test_mixed_precision_trains_float32_weights_and_keeps_frozen_ones_in_bfloat16(settings):
    full = make_classifier(settings(method="full", precision="mixed"), seed=0)
    assert {weight.dtype for weight in full.trained.values()} == {torch.float32}
    lora = make_classifier(settings(precision="mixed"), seed=0)
    assert {weight.dtype for weight in lora.trained.values()} == {torch.float32}
    assert lora.decoder.layers[0].mlp.up_proj.base_layer.weight.dtype is torch.bfloat16


def test_seeds_differ_and_repeat(settings):
    name = "layers.0.mlp.up_proj.lora_A.default.weight"
    fresh = [make_classifier(settings(), seed=seed).trained[name].detach() for seed in (0, 1, 0)]
    assert torch.equal(fresh[0], fresh[2])
    assert not torch.equal(fresh[0], fresh[1])


def test_loading_leaves_the_processes_own_generator_alone(settings):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    make_classifier(settings(), seed=0)
    assert torch.equal(torch.rand(1), expected)


def test_gradients_flow_through_a_quantised_model_also_after_scoring(settings, split):
    """bitsandbytes re-arranges 4-bit weights in a pass without gradients, to a form that has none."""
    from bitsandbytes.functional import dequantize_4bit

    data = split(8)
    quantised, plain = (make_classifier(settings(method=method), seed=0) for method in ("qlora", "lora"))
    score(quantised, data.records, batch_tokens=256)
    for classifier in (quantised, plain):
        with torch.no_grad():
            classifier.head.weight[1].fill_(0.5)
    for name, module in quantised.decoder.named_modules():
        if name.endswith("base_layer"):
            weight = dequantize_4bit(module.weight.data, module.weight.quant_state)
            plain.decoder.get_submodule(name).weight.data = weight.float()
    found = []
    for classifier in (quantised, plain):
        classifier.decoder.eval()  # no dropout
        with reading(classifier) as reader:
            reader.logits([record.token_ids for record in data.records]).square().sum().backward()
        found.append({name: weight.grad for name, weight in classifier.trained.items()})
    for name, gradient in found[1].items():
        torch.testing.assert_close(found[0][name], gradient, rtol=1e-3, atol=1e-5, msg=name)
    assert found[0]["layers.0.mlp.up_proj.lora_B.default.weight"].abs().sum() > 0
