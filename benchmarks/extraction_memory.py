"""Peak memory of an extraction against the number of records and the longest of them.

Each figure is the peak of a process of its own, with a small random Llama, so that activations and not weights weigh.

    python benchmarks/extraction_memory.py
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

CASES = [(1_000, 250), (20_000, 250), (1_000, 512), (1_000, 8_192)]
"""(records, tokens of the longest record); all others have 250 tokens, about as real conversations do."""


def main() -> None:
    """Run every case in a process of its own and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", type=int, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        print(_peak(*options.case))
        return
    for records, longest in CASES:
        command = [sys.executable, __file__, "--case", str(records), str(longest)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        print(json.dumps({"records": records, "longest": longest, "peak_mb": round(float(done.stdout))}), flush=True)


def _peak(count: int, longest: int) -> float:
    """Peak resident memory in MB."""
    from models_under_pressure.activations.config import ExtractConfig, ModelConfig
    from models_under_pressure.activations.extract import extract
    from models_under_pressure.activations.model import load_model
    from models_under_pressure.core.records import Record

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _save_model(folder / "model")
        model = load_model(ModelConfig(name=str(folder / "model"), dtype="float32"), layers=[1])
        lengths = [longest, *[250] * (count - 1)]
        records = [Record(f"{index:06}", "a " * (length // 2)) for index, length in enumerate(lengths)]
        extract(records, model=model, config=ExtractConfig(), paths={1: folder / "store.zarr"})
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _save_model(path: Path) -> None:
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import AutoModel, LlamaConfig, PreTrainedTokenizerFast

    vocabulary = {token: n for n, token in enumerate(["<s>", *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="<s>", pad_token="<s>")
    fast.chat_template = "{% for message in messages %}{{ message.content }}{% endfor %}"
    fast.save_pretrained(path)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=576,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=9,
        max_position_embeddings=8192,
    )
    AutoModel.from_config(config).save_pretrained(path)


if __name__ == "__main__":
    main()
