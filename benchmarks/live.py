"""Cost of a live monitor: seconds per generated token with and without probes, side by side.

    uv run python benchmarks/live.py --probe attention --probe mean --tokens 200 --rounds 5

Each round generates the same reply bare, with the first probe, and with all, in a random order; ratios are of medians.
"""

import argparse
import random
import statistics
import time

import torch

import models_under_pressure as mup
from models_under_pressure.tools.score import find_probe

PROMPT = (mup.Message("user", "Write a long story about a lighthouse."),)


def bare(monitor: mup.Monitor, tokens: int) -> float:
    """Seconds per token of `generate` alone."""
    reply = monitor.generate(PROMPT, max_new_tokens=tokens)
    prompt = torch.as_tensor(reply._ids[None].astype("int64"))
    begun = time.perf_counter()
    with torch.inference_mode():
        monitor.model.model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=False,
            min_new_tokens=tokens,
            max_new_tokens=tokens,
        )
    return (time.perf_counter() - begun) / tokens


def watched(monitor: mup.Monitor, tokens: int) -> tuple[float, list[float]]:
    """Seconds per token under watch, and the seconds at which each token came."""
    begun = time.perf_counter()
    came = [time.perf_counter() - begun for _ in monitor.generate(PROMPT, max_new_tokens=tokens, min_new_tokens=tokens)]
    return (time.perf_counter() - begun) / tokens, came


def main() -> None:
    """Print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--probe", action="append", required=True)
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    probes = {name: mup.load_probe(find_probe(name)) for name in asked.probe}
    everything = mup.load_monitor(probes)
    first = mup.Monitor(dict([next(iter(probes.items()))]), everything.model)
    runs = {
        "bare": lambda: bare(first, asked.tokens),
        "one probe": lambda: watched(first, asked.tokens)[0],
        f"{len(probes)} probes": lambda: watched(everything, asked.tokens)[0],
    }
    for run in runs.values():
        run()
    found: dict[str, list[float]] = {name: [] for name in runs}
    order = list(runs)
    for number in range(asked.rounds):
        random.Random(number).shuffle(order)
        for name in order:
            found[name].append(runs[name]())
    base = statistics.median(found["bare"])
    for name, seconds in found.items():
        median = statistics.median(seconds)
        print(f"{name:10} {1000 * median:7.2f} ms a token, {median / base:.3f} of bare")
    _, came = watched(first, asked.tokens)
    half = len(came) // 2
    early, late = (came[half - 1] - came[0]) / (half - 1), (came[-1] - came[half]) / (len(came) - half - 1)
    print(f"a token of the second half takes {late / early:.3f} of one of the first")


if __name__ == "__main__":
    main()
