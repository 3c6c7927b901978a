"""Tiny real models of every family, with a small byte-level tokenizer, saved as Hugging Face directories."""

import sys
from pathlib import Path

import pytest

from models_under_pressure.core.conversation import Message
from models_under_pressure.core.records import Record

sys.path.insert(0, str(Path(__file__).parent))  # for `chat_styles`

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'"
    " }}{% endfor %}"
)
QWEN = (
    "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are helpful.<|im_end|>\n' }}{% endif %}"
    + CHATML
)
LLAMA = (
    "{% if date_string is not defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}"
    "{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] | trim %}"
    "{% set messages = messages[1:] %}{% else %}{% set system = '' %}{% endif %}"
    "{{ bos_token + '<|start_header_id|>system<|end_header_id|>\n\nToday Date: ' + date_string + '\n\n' + system "
    "+ '<|eot_id|>' }}"
    "{% for message in messages %}{% if message['role'] == 'tool' %}"
    "{{ '<|start_header_id|>ipython<|end_header_id|>\n\n' + (message['content'] | tojson) + '<|eot_id|>' }}{% else %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + (message['content'] | trim) "
    "+ '<|eot_id|>' }}"
    "{% endif %}{% endfor %}"
)
GEMMA = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% set role = 'model' if message['role'] == 'assistant' else message['role'] %}"
    "{{ '<start_of_turn>' + role + '\n' + (message['content'] | trim) + '<end_of_turn>\n' }}{% endfor %}"
)
TEMPLATES = {"smollm": QWEN, "qwen": QWEN, "llama": LLAMA, "gemma": GEMMA}
SPECIAL = {
    "smollm": {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|im_end|>"},
    "qwen": {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"},
    "llama": {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>", "pad_token": "<|eot_id|>"},
    "gemma": {"bos_token": "<bos>", "eos_token": "<end_of_turn>", "pad_token": "<pad>"},
}
MARKERS = {
    "smollm": ["<|im_start|>", "<|im_end|>"],
    "qwen": ["<|im_start|>", "<|im_end|>", "<|endoftext|>"],
    "llama": ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
    "gemma": ["<bos>", "<pad>", "<start_of_turn>", "<end_of_turn>"],
}


def make_tokenizer(style: str, *, adds_bos: bool = False):
    """A byte-level BPE tokenizer with the special tokens and the chat template of a family."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(
        ["user system assistant the and you are is of to in\n\n that it model " * 20], trainer
    )
    tokenizer.add_special_tokens([AddedToken(marker, special=True, normalized=False) for marker in MARKERS[style]])
    if adds_bos:
        bos = SPECIAL[style]["bos_token"]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, tokenizer.token_to_id(bos))]
        )
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **SPECIAL[style])
    fast.chat_template = TEMPLATES[style]
    return fast


def conversation(id_: str, *turns: tuple[str, str]) -> Record:
    return Record(id_, tuple(Message(role, content) for role, content in turns))


@pytest.fixture(scope="session")
def tokenizer_of():
    """A small tokenizer with the chat template of a family."""
    return make_tokenizer


@pytest.fixture
def chats() -> list[Record]:
    """Conversations of very different lengths, in no order."""
    texts = ["A", "Is it safe to mix these?", "word " * 40, "naïve café 東京 🚀 " * 7, "line\n\nline " * 25]
    return [
        conversation(f"r{index:02}", ("user", texts[index % 5]), ("assistant", texts[(index * 3 + 1) % 5]))
        if index % 2
        else Record(f"r{index:02}", texts[(index * 7) % 5] + f" {index}")
        for index in (7, 3, 11, 0, 1, 2, 10, 4, 9, 5, 8, 6)
    ]


def _small(**extra):
    return {
        "vocab_size": 512,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        **extra,
    }


def _gemma3_multimodal():
    from transformers import Gemma3Config

    return Gemma3Config(
        text_config=_small(head_dim=8, sliding_window=16, layer_types=_HYBRID),
        vision_config={
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 4,
            "num_attention_heads": 2,
            "image_size": 28,
            "patch_size": 14,
        },
        mm_tokens_per_image=1,
    )


_LONG_ROPE = {
    "rope_type": "longrope",
    "rope_theta": 10_000.0,
    "short_factor": [1.0] * 4,
    "long_factor": [3.0] * 4,
    "original_max_position_embeddings": 128,
}
"""Other angles for records of more than 128 tokens."""
_HYBRID = ["sliding_attention", "full_attention", "sliding_attention", "full_attention"]


def _families():
    """Name -> (config, chat style)."""
    import transformers as t

    no_groups = {name: value for name, value in _small().items() if name != "num_key_value_heads"}
    return {
        "llama": (t.LlamaConfig(**_small()), "llama"),
        "llama_wide": (t.LlamaConfig(**_small(hidden_size=64, intermediate_size=128)), "llama"),
        "mistral": (t.MistralConfig(**_small(sliding_window=16)), "llama"),
        "qwen2": (t.Qwen2Config(**_small()), "qwen"),
        "qwen3": (t.Qwen3Config(**_small(head_dim=8)), "qwen"),
        "gemma2": (t.Gemma2Config(**_small(head_dim=8, sliding_window=16)), "gemma"),
        "gemma3": (t.Gemma3TextConfig(**_small(head_dim=8, sliding_window=16, layer_types=_HYBRID)), "gemma"),
        "gemma3_multimodal": (_gemma3_multimodal(), "gemma"),
        "phi": (t.PhiConfig(**_small()), "qwen"),
        "phi3": (t.Phi3Config(**_small(pad_token_id=0)), "qwen"),
        "phi3_long": (t.Phi3Config(**_small(pad_token_id=0, rope_parameters=_LONG_ROPE)), "qwen"),
        "gpt2": (t.GPT2Config(vocab_size=512, n_positions=2048, n_embd=32, n_layer=4, n_head=4), "smollm"),
        "neox": (t.GPTNeoXConfig(**no_groups), "smollm"),
        "bloom": (t.BloomConfig(vocab_size=512, hidden_size=32, n_layer=4, n_head=4), "qwen"),
        "olmo2": (t.Olmo2Config(**_small()), "qwen"),
        "bert": (t.BertConfig(**no_groups), "qwen"),
    }


@pytest.fixture(scope="session")
def model_directory(tmp_path_factory):
    """Directory of a tiny random model of a family, made once."""
    made: dict[str, Path] = {}

    def directory(family: str) -> Path:
        if family not in made:
            import torch
            from transformers import AutoModel

            config, style = _families()[family]
            torch.manual_seed(len(family))
            made[family] = tmp_path_factory.mktemp(family)
            AutoModel.from_config(config).save_pretrained(made[family])
            make_tokenizer(style, adds_bos=style in ("llama", "gemma")).save_pretrained(made[family])
        return made[family]

    return directory


@pytest.fixture(scope="session")
def tiny(model_directory):
    """A tiny Llama in float32, loaded for extraction."""
    from models_under_pressure.activations.config import ModelConfig
    from models_under_pressure.activations.model import load_model

    return load_model(ModelConfig(name=str(model_directory("llama")), dtype="float32"))
