"""Extraction speed, memory and size on disk, against the method of the paper's released code.

Both methods run end to end (tokenising, forward passes, writing) on the same conversations and weights, in turns in one
process; peak memory comes from a process for each. Seconds are of all cores together (CPU seconds) on a CPU, because
other work on the machine does not count in them, and of the clock on a GPU.

    python benchmarks/extraction.py --dataset data/evals/dev/anthropic_balanced_mar_21.jsonl --records 100
    python benchmarks/extraction.py --shape llama-8b --quantization 4bit --layer 16 --dataset ...   # random weights
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from reference_extraction import reference_extract

from models_under_pressure.activations.config import EMBEDDED_MODEL, ExtractConfig, LoadedModel, ModelConfig
from models_under_pressure.activations.embedded import embedded_model
from models_under_pressure.activations.extract import extract
from models_under_pressure.activations.model import load_model
from models_under_pressure.activations.store import open_store
from models_under_pressure.core.records import Record, read_records

SHAPES = {
    "llama-1b": {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16},
    "llama-8b": {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32},
}
"""Shapes of Llama 3.2 1B and 3.1 8B, for machines without a network."""

Method = Callable[[Sequence[Record]], int]
"""Extracts records and returns their number of tokens."""


def main() -> None:
    """Run the comparison and print it as JSON."""
    options = _options()
    torch.set_num_threads(options.threads)
    folder = Path(tempfile.mkdtemp(prefix="extraction-", dir=options.folder))
    try:
        options.model = str(_random_model(options.shape, folder)) if options.shape else options.model
        if options.only:
            _methods(options, folder)[options.only](_records(options))
            print(_own_peak_memory())
        else:
            print(json.dumps(_compare(options, folder), indent=2))
    finally:
        shutil.rmtree(folder)


def _compare(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    records = _records(options)
    methods = _methods(options, folder)
    model = load_model(_config(options))
    clock = time.process_time if model.device == "cpu" else time.perf_counter
    tokens = {name: method(records[:8]) for name, method in methods.items()}  # warm: caches, thread pools
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    passed: dict[str, list[float]] = {name: [] for name in methods}
    peaks = []
    for _ in range(options.rounds):
        peaks.append(_matmul_peak(model, clock))
        for name, method in methods.items():
            start, began = clock(), time.perf_counter()
            tokens[name] = method(records)
            seconds[name].append(clock() - start)
            passed[name].append(time.perf_counter() - began)
    speed = {name: tokens[name] / statistics.median(times) for name, times in seconds.items()}
    peak = statistics.median(peaks)
    return {
        "model": options.shape or options.model,
        "layer": options.layer,
        "records": len(records),
        "tokens": tokens["ours"],
        "threads": options.threads,
        "seconds": "CPU" if model.device == "cpu" else "clock",
        "compute_dtype": model.dtype,
        "tokens_per_second": {name: round(value) for name, value in speed.items()},
        "speed_ratio": _ratio(seconds),
        "speed_ratio_by_the_clock": _ratio(passed),
        "seconds_by_the_clock": {name: round(statistics.median(times), 2) for name, times in passed.items()},
        "matmul_peak_tflops": round(peak / 1e12, 3),
        "share_of_matmul_peak": round(_flops_per_token(model, options.layer) * speed["ours"] / peak, 3),
        "bytes_per_token": {
            "ours": round(_size(folder / "ours.zarr") / tokens["ours"], 1),
            "reference": round(_size(folder / "reference.zst") / tokens["reference"], 1),
            "raw bfloat16": 2 * model.hidden,
        },
        "peak_memory_mb": {name: _peak_memory(name) for name in methods},
    }


def _ratio(seconds: dict[str, list[float]]) -> float:
    return round(statistics.median(a / b for a, b in zip(seconds["reference"], seconds["ours"], strict=True)), 2)


def _methods(options: argparse.Namespace, folder: Path) -> dict[str, Method]:
    return {"ours": _ours(options, folder), "reference": _reference(options, folder)}


def _ours(options: argparse.Namespace, folder: Path) -> Method:
    loaded: list[LoadedModel] = []
    config = ExtractConfig(batch_tokens=options.batch_tokens or "auto")

    def run(records: Sequence[Record]) -> int:
        if not loaded:
            loaded.append(load_model(_config(options), layers=[options.layer]))
        path = folder / "ours.zarr"
        shutil.rmtree(path, ignore_errors=True)
        extract(records, model=loaded[0], config=config, paths={options.layer: path})
        return int(open_store(path).attributes["tokens"])

    return run


def _reference(options: argparse.Namespace, folder: Path) -> Method:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = str(embedded_model()) if options.model == EMBEDDED_MODEL else options.model
    device = "cuda" if torch.cuda.is_available() else "cpu"
    loaded: list[Any] = []

    def run(records: Sequence[Record]) -> int:
        if not loaded:
            dtype = torch.bfloat16 if device == "cuda" else torch.float32
            loaded.extend(
                [
                    AutoModelForCausalLM.from_pretrained(source, dtype=dtype, device_map=device).eval(),
                    AutoTokenizer.from_pretrained(source),
                ]
            )
        model, tokenizer = loaded
        messages = [[{"role": m.role, "content": m.content} for m in record.messages] for record in records]
        texts = [tokenizer.apply_chat_template(turns, tokenize=False) for turns in messages]
        return reference_extract(texts, model, tokenizer, options.layer, folder / "reference.zst")

    return run


def _matmul_peak(model: LoadedModel, clock: Callable[[], float]) -> float:
    """Floating-point operations per second of the model's widest matrix product, in the model's precision."""
    text = model.model.config.get_text_config()
    dtype, device = getattr(torch, model.dtype), model.device
    rows = 2048 if device == "cpu" else 16384
    left = torch.randn(rows, text.hidden_size, dtype=dtype, device=device)
    right = torch.randn(text.intermediate_size, text.hidden_size, dtype=dtype, device=device)
    best = float("inf")
    for _ in range(20):
        start = clock()
        for _ in range(5):
            torch.nn.functional.linear(left, right)
        if device != "cpu":
            torch.cuda.synchronize()
        best = min(best, clock() - start)
    return 5 * 2 * rows * text.hidden_size * text.intermediate_size / best


def _flops_per_token(model: LoadedModel, layer: int) -> float:
    """Two per weight of the blocks below the layer; attention scores, norms and the rest are left out."""
    return 2.0 * sum(p.numel() for block in list(model.model.layers)[:layer] for p in block.parameters() if p.dim() > 1)


def _own_peak_memory() -> float:
    """Largest resident memory of this process in MB; `getrusage` would count its parent's."""
    status = Path("/proc/self/status").read_text("utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _peak_memory(method: str) -> int:
    command = [sys.executable, *sys.argv, "--only", method]
    return round(float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]))


def _size(path: Path) -> int:
    return (
        sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) if path.is_dir() else path.stat().st_size
    )


def _records(options: argparse.Namespace) -> list[Record]:
    records = [record for path in options.dataset for record in read_records(path)]
    step = max(1, len(records) // options.records)  # evenly from all files
    unique = {f"{index:06}": record for index, record in enumerate(records[::step][: options.records])}
    return [Record(id_, record.input) for id_, record in unique.items()]


def _config(options: argparse.Namespace) -> ModelConfig:
    return ModelConfig(name=options.model, dtype=options.dtype, quantization=options.quantization)


def _random_model(shape: str, folder: Path) -> Path:
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig

    tokenizer = AutoTokenizer.from_pretrained(embedded_model())
    config = LlamaConfig(
        **SHAPES[shape], num_attention_heads=32, num_key_value_heads=8, vocab_size=128_256, tie_word_embeddings=True
    )
    torch.manual_seed(0)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder / shape)
    tokenizer.save_pretrained(folder / shape)
    return folder / shape


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, nargs="+", required=True)
    parser.add_argument("--records", type=int, default=100)
    parser.add_argument("--model", default=EMBEDDED_MODEL)
    parser.add_argument("--shape", choices=SHAPES, help="random weights of this shape instead of a model")
    parser.add_argument("--layer", type=int, default=11)
    parser.add_argument("--dtype", choices=["auto", "float32", "bfloat16"], default="auto")
    parser.add_argument("--quantization", choices=["none", "8bit", "4bit"], default="none")
    parser.add_argument("--batch-tokens", type=int)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where stores are written and deleted again")
    parser.add_argument("--only", choices=["ours", "reference"], help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
