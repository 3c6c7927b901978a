"""One pass for both replies against two passes, on real prompts: the same model, precision, thread count and records.

Usage: OMP_NUM_THREADS=1 python benchmarks/prompted.py data/datasets/dev/mt_dev.jsonl --records 12 --rounds 3

The naive method is the original project's: batches of two records, both replies as padded rows of their own, the
whole head, log-softmax over every place. Rounds alternate in one process; CPU seconds, medians.
"""

import argparse
import time
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch

from models_under_pressure.activations.config import ModelConfig
from models_under_pressure.activations.model import load_language_model
from models_under_pressure.baselines.data import read_labelled
from models_under_pressure.baselines.prompted.likelihood import PromptReader
from models_under_pressure.baselines.prompted.questions import Prompt, load_template, make_prompts
from models_under_pressure.core.concept import load_concept

BATCH = 4


def naive(model, prompts: list[Prompt], size: int) -> np.ndarray:
    """High minus low log-likelihood, from `size` rows at a time: each record with each reply."""
    found = np.zeros(len(prompts))
    for start in range(0, len(prompts), size // 2):
        batch = prompts[start : start + size // 2]
        rows = [np.concatenate([one.shared, reply]) for one in batch for reply in (one.high, one.low)]
        longest = max(map(len, rows))
        tokens = torch.zeros(len(rows), longest, dtype=torch.long)
        mask = torch.zeros(len(rows), longest, dtype=torch.long)
        for number, row in enumerate(rows):
            tokens[number, : len(row)] = torch.from_numpy(row.astype(np.int64))
            mask[number, : len(row)] = 1
        with torch.inference_mode():
            values = model.model(input_ids=tokens, attention_mask=mask, use_cache=False).logits.log_softmax(-1)
        for number, one in enumerate(batch):
            sums = []
            for offset, row in enumerate(rows[2 * number : 2 * number + 2]):
                places = range(len(one.shared), len(row))
                sums.append(sum(float(values[2 * number + offset, place - 1, int(row[place])]) for place in places))
            found[start + number] = sums[0] - sums[1]
    return found


def ours(reader: PromptReader, prompts: list[Prompt], budget: int | None) -> np.ndarray:
    """The project's method."""
    found = dict(reader.likelihoods(prompts, budget=budget))
    return np.array([found[index].high - found[index].low for index in range(len(prompts))])


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--records", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--wordings", nargs="+", default=["default", "single_word", "prompt_at_end"])
    arguments = parser.parse_args()
    model = load_language_model(ModelConfig(name=arguments.model))
    reader = PromptReader(model)
    data = read_labelled("benchmark", arguments.file)
    step = max(1, len(data.records) // arguments.records)
    records = data.records[::step][: arguments.records]
    print(f"{model.name}, {model.dtype}, {torch.get_num_threads()} thread(s), {len(records)} records")
    for name in arguments.wordings:
        prompts, _ = make_prompts(
            records, load_template(name, load_concept("stakes")), model.tokenizer, name=model.name, max_tokens=2048
        )
        longest = max(prompt.tokens for prompt in prompts)
        methods = {
            "naive": partial(naive, model, prompts, BATCH),
            "same batch": partial(ours, reader, prompts, BATCH * longest),
            "auto": partial(ours, reader, prompts, None),
        }
        seconds = {method: [] for method in methods}
        scores = {}
        for _ in range(arguments.rounds):
            for method, run in methods.items():
                start = time.process_time()
                scores[method] = run()
                seconds[method].append(time.process_time() - start)
        base = median(seconds["naive"])
        for method, times in seconds.items():
            apart = np.abs(scores[method] - scores["naive"]).max()
            print(
                f"{name:14} {method:11} {median(times):7.2f} s  {base / median(times):5.2f}x  "
                f"largest difference of scores {apart:.3f}"
            )


if __name__ == "__main__":
    main()
