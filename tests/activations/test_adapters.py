"""A base and a PEFT adapter are the model that PEFT merges; the adapter is part of where activations come from."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForCausalLM, LlamaConfig

from models_under_pressure.activations.config import ExtractConfig, ModelConfig
from models_under_pressure.activations.extract import extract, recompute
from models_under_pressure.activations.forward import prepared
from models_under_pressure.activations.model import describe_model, load_language_model, load_model, model_of
from models_under_pressure.activations.store import open_store
from models_under_pressure.activations.tokens import tokenise
from models_under_pressure.core.errors import UserError
from models_under_pressure.probes.data import check_same_origin

SIZES = {
    "vocab_size": 512,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
KINDS = {
    "lora": {"target_modules": ["q_proj", "down_proj"], "r": 4, "init_lora_weights": False},
    "dora": {"target_modules": ["q_proj", "v_proj"], "r": 4, "init_lora_weights": False, "use_dora": True},
    "by_pattern": {"target_modules": r"model\.layers\.[02]\..*_proj", "r": 2, "init_lora_weights": False},
    "ia3": {
        "peft_type": "IA3",
        "target_modules": ["k_proj", "down_proj"],
        "feedforward_modules": ["down_proj"],
        "init_ia3_weights": False,
    },
    "loha": {"peft_type": "LOHA", "target_modules": ["q_proj"], "r": 4, "init_weights": False},
    "lokr": {"peft_type": "LOKR", "target_modules": ["v_proj"], "r": 4, "init_weights": False},
}
"""Kind -> settings of PEFT, of LoRA where they name no type."""


@pytest.fixture(scope="module")
def base(tokenizer_of, tmp_path_factory):
    """A tiny Llama with its head."""
    folder = tmp_path_factory.mktemp("base")
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(LlamaConfig(**SIZES)).save_pretrained(folder)
    tokenizer_of("llama", adds_bos=True).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def adapter(base, tmp_path_factory):
    """Folder of an adapter of a kind on the base, made once; `bare`: on the decoder without its head."""
    import peft

    made = {}

    def folder(kind="lora", bare=False):
        if (kind, bare) not in made:
            torch.manual_seed(1)
            model = (AutoModel if bare else AutoModelForCausalLM).from_pretrained(base)
            config = peft.PeftConfig.from_peft_type(**{"peft_type": "LORA"} | KINDS[kind])
            config.task_type = None if bare else "CAUSAL_LM"
            made[kind, bare] = tmp_path_factory.mktemp(kind)
            wrapped = peft.get_peft_model(model, config)
            for name, weight in wrapped.named_parameters():
                if weight.requires_grad:
                    assert "base_layer" not in name
                    torch.nn.init.normal_(weight, std=0.3)
            wrapped.save_pretrained(made[kind, bare])
        return made[kind, bare]

    return folder


@pytest.fixture
def changed(adapter, tmp_path):
    """A copy of the adapter that may be damaged."""
    shutil.copytree(adapter(), tmp_path / "changed")
    return tmp_path / "changed"


def config_of(base, adapter, **more):
    return ModelConfig(name=str(base), adapter=str(adapter), dtype="float32", **more)


def values_of(model, chats, layers):
    """Token ids and the activations of each layer, of every record."""
    records = tokenise(chats, model.tokenizer, name="m", max_tokens=64, truncation_side="right")[0]
    with prepared(model, layers, ExtractConfig(stored="float32")) as forward:
        found = dict(forward.run(dict(enumerate(records))))
    return [(record.token_ids, found[index]) for index, record in enumerate(records)]


def merged_by_peft(base, folder, bare=False):
    import peft

    model = (AutoModel if bare else AutoModelForCausalLM).from_pretrained(base, dtype=torch.float32)
    merged = peft.PeftModel.from_pretrained(model, folder).merge_and_unload()
    return (merged if bare else merged.model).eval()


@pytest.mark.parametrize(("kind", "bare"), [*((kind, False) for kind in KINDS), ("lora", True)])
def test_the_numbers_are_those_of_the_model_that_peft_merges(kind, bare, base, adapter, chats):
    folder = adapter(kind, bare)
    expected = merged_by_peft(base, folder, bare)
    without = load_model(ModelConfig(name=str(base), dtype="float32"))
    alone = values_of(without, chats, [2])
    for number, (ids, found) in enumerate(values_of(load_model(config_of(base, folder)), chats, [2, 3])):
        with torch.inference_mode():
            states = expected(input_ids=torch.from_numpy(ids).long()[None], output_hidden_states=True).hidden_states
        for layer in (2, 3):
            values, least = torch.from_numpy(found[layer]), 1e-6 * float(states[layer].abs().max())
            torch.testing.assert_close(values, states[layer][0], rtol=1e-5, atol=least)
        assert np.abs(found[2] - alone[number][1][2]).max() > 2e-4


def test_with_its_head_the_model_predicts_what_the_merged_one_does(base, adapter):
    ids = torch.arange(20)[None]
    for bare in (False, True):
        folder = adapter("lora", bare)
        expected = merged_by_peft(base, folder, bare)
        found = load_language_model(config_of(base, folder)).model
        with torch.inference_mode():
            states = expected(input_ids=ids).last_hidden_state
            torch.testing.assert_close(found(input_ids=ids).logits, found.lm_head(states), atol=2e-5, rtol=1e-4)


def test_only_the_blocks_that_a_layer_needs_are_loaded_and_changed(base, adapter, chats):
    part, whole = load_model(config_of(base, adapter()), layers=[1]), load_model(config_of(base, adapter()))
    assert len(part.model.layers) == 2
    for (_, some), (_, every) in zip(values_of(part, chats, [1]), values_of(whole, chats, [1]), strict=True):
        np.testing.assert_array_equal(some[1], every[1])


def test_an_adapter_named_as_the_model_brings_its_base_and_no_trust_in_it(base, adapter):
    asked = ModelConfig(name=str(adapter()), dtype="float32", trust_remote_code=True)
    found, apart = describe_model(asked), describe_model(config_of(base, adapter()))
    assert found.origin == apart.origin
    assert found.origin["model"] == str(base)
    assert not found.config.trust_remote_code


def test_store_and_probe_know_the_adapter_and_refuse_another(base, adapter, chats, tmp_path):
    path = tmp_path / "a.zarr"
    config = ExtractConfig()
    model = load_model(config_of(base, adapter()), layers=[2])
    assert extract(chats, model=model, config=config, paths={2: path}) == {2: "written"}
    store = open_store(path)
    assert store.attributes["adapter"] == str(adapter())
    assert model_of(store.attributes).adapter == str(adapter())
    assert all(one.identical for one in recompute(store, sample=2, seed=0))
    others = [load_model(config_of(base, adapter("dora"))), load_model(ModelConfig(name=str(base), dtype="float32"))]
    for other in others:
        with pytest.raises(UserError, match="adapter_revision is"):
            check_same_origin(store.attributes, other.origin | {"layer": 2}, what="the activations")
        assert extract(chats, model=other, config=config, paths={2: path}) == {2: "written"}
    assert extract(chats, model=others[-1], config=config, paths={2: path}) == {2: "exists"}


def test_the_tokenizer_and_template_beside_the_adapter_are_the_ones_used(base, changed, tokenizer_of):
    tokenizer = tokenizer_of("qwen", adds_bos=False)
    tokenizer.save_pretrained(changed)
    found = describe_model(config_of(base, changed)).tokenizer
    assert found.chat_template == tokenizer.chat_template
    tokenizer.add_tokens([f"word{number}" for number in range(512)])
    tokenizer.save_pretrained(changed)
    with pytest.raises(UserError, match="tokens, and the model embeds 512"):
        describe_model(config_of(base, changed))


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def pickled(folder):
    torch.save(load_file(folder / "adapter_model.safetensors"), folder / "adapter_model.bin")
    (folder / "adapter_model.safetensors").unlink()
    return "has no adapter_model.safetensors; pickled weights are not read"


def no_adapter(folder):
    (folder / "adapter_config.json").unlink()
    return "holds no adapter_config.json"


def another_kind(folder):
    edit(folder / "adapter_config.json", peft_type="PREFIX_TUNING")
    return "the adapter is of the kind 'PREFIX_TUNING'"


def a_library_by_name(folder):
    edit(folder / "adapter_config.json", megatron_config={"a": 1}, megatron_core="evil")
    return "the adapter asks for `megatron_config`"


def a_setting_of_a_later_version(folder):
    edit(folder / "adapter_config.json", use_tomorrow=True)
    return "cannot be added to this model"


def code_of_its_own(folder):
    (folder / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": ["evil.Mine", null]}}')
    return "the adapter contains code of its own; not run"


def cut_weights(folder):
    content = (folder / "adapter_model.safetensors").read_bytes()
    (folder / "adapter_model.safetensors").write_bytes(content[: len(content) // 2])
    return "cannot be added to this model"


def a_weight_missing(folder):
    weights = load_file(folder / "adapter_model.safetensors")
    weights.popitem()
    save_file(weights, folder / "adapter_model.safetensors")
    return "the adapter's file lacks 1 of its weights"


def of_a_deeper_model(folder):
    weights = load_file(folder / "adapter_model.safetensors")
    renamed = {name.replace(".q_proj.", ".query."): weight for name, weight in weights.items()}
    save_file(renamed, folder / "adapter_model.safetensors")
    return "weights of the adapter have no place in this model"


@pytest.mark.parametrize(
    "damage",
    [
        pickled,
        no_adapter,
        another_kind,
        a_library_by_name,
        a_setting_of_a_later_version,
        code_of_its_own,
        cut_weights,
        a_weight_missing,
        of_a_deeper_model,
    ],
)
def test_what_an_adapter_may_not_be_is_one_line_and_nothing_is_asked(damage, base, changed, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("a question"))
    problem = damage(changed)
    with pytest.raises(UserError) as caught:
        load_model(config_of(base, changed))
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_adapter_that_does_not_name_its_base_says_how_to(changed):
    edit(changed / "adapter_config.json", base_model_name_or_path=None)
    with pytest.raises(UserError, match="does not say which model it is added to.*--adapter"):
        describe_model(ModelConfig(name=str(changed)))
