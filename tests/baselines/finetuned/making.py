"""What the tests of finetuning are made of."""

from models_under_pressure.baselines.data import LabelledRecords
from models_under_pressure.core.conversation import Message
from models_under_pressure.core.records import Label, Record

TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' }}"
    "{% endfor %}"
)
HIGH = ("danger", "poison", "surgery", "lawsuit")
LOW = ("picnic", "crayon", "sunset", "kitten")


def save_model(directory, *, seed=0, **changes):
    """A Llama of three blocks with random weights, and a tokenizer of bytes whose pad token ends a turn."""
    import torch
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={token: n for n, token in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    markers = ["<|im_start|>", "<|im_end|>"]
    tokenizer.add_special_tokens([AddedToken(marker, special=True, normalized=False) for marker in markers])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|im_end|>")
    fast.chat_template = TEMPLATE
    fast.save_pretrained(directory)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=320,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        initializer_range=0.1,
        pad_token_id=fast.pad_token_id,
        eos_token_id=fast.eos_token_id,
        bos_token_id=None,
        **changes,
    )
    LlamaForCausalLM(config).save_pretrained(directory)


def sentences(count, *, start=0, reversed_labels=False):
    """Pairs of conversations that differ in one word, which tells their label; half are dialogues."""
    records = []
    for number in range(start, start + count):
        high = number % 2 == 0
        word = (HIGH if high else LOW)[number // 2 % 4]
        text = f"{'so ' * (number % 5)}a {word} {number // 2}"
        turns = (Message("user", text), Message("assistant", "ok")) if number % 3 == 0 else text
        label = Label.HIGH if high != reversed_labels else Label.LOW
        records.append(Record(f"{number:04}", turns, label, fields={"pair_id": f"p{number // 2}"}))
    return LabelledRecords("toy", tuple(records))
