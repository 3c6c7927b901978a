"""Cost of a live monitor, and how soon it flags: processor time per token with and without probes, side by side.

    uv run python benchmarks/live.py cost --probe attention --probe mean --tokens 100 --rounds 5
    uv run python benchmarks/live.py cost --probe attention --probe mean --tokens 40 --context 3900 --rounds 2
    uv run python benchmarks/live.py flags --probe attention --prompts data/datasets/dev/anthropic_dev.jsonl --most 30

`cost`: each round writes the same reply bare, with the first probe and with all, in a random order, on one thread;
ratios are medians over rounds of paired ratios. Processor time does not see that other programs run; their use of the
caches and of the memory it does. `flags`: at which token a reply to each high-stakes prompt is first flagged, if it is.
"""

import argparse
import random
import statistics
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

import models_under_pressure as mup
from models_under_pressure.activations.ragged import ASSISTANT
from models_under_pressure.monitor.running import Scores
from models_under_pressure.tools.score import find_probe

ASK = "Write a long story about a lighthouse."


def bare(monitor: mup.Monitor, messages: list[mup.Message], tokens: int) -> list[float]:
    """Processor seconds at which `generate` alone has written each token, from its start."""
    prompt = torch.as_tensor(monitor.generate(messages, max_new_tokens=tokens)._ids[None].astype("int64"))
    begun, came = time.process_time(), list[float]()

    def note(ids, logits, **_):
        came.append(time.process_time() - begun)
        return torch.zeros(len(ids), dtype=torch.bool)

    with torch.inference_mode():
        monitor.model.model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=False,
            min_new_tokens=tokens,
            max_new_tokens=tokens,
            stopping_criteria=[note],
        )
    return [*came, time.process_time() - begun]


def watched(monitor: mup.Monitor, messages: list[mup.Message], tokens: int) -> list[float]:
    """Processor seconds at which each scored token came, and at which the whole was scored."""
    begun = time.process_time()
    reply = monitor.generate(messages, max_new_tokens=tokens, min_new_tokens=tokens)
    came = [time.process_time() - begun for _ in reply]
    return [*came, time.process_time() - begun]


def cost(asked: argparse.Namespace) -> None:
    """Print processor time per token and ratios."""
    torch.set_num_threads(1)
    probes = {name: mup.load_probe(find_probe(name)) for name in asked.probe}
    everything = mup.load_monitor(probes)
    first = mup.Monitor(dict([next(iter(probes.items()))]), everything.model)
    words = "The keeper wrote in his book that the sea was calm. " * (asked.context // 12)
    messages = [mup.Message("user", words + ASK)]
    runs = {
        "bare": lambda: bare(first, messages, asked.tokens),
        "one probe": lambda: watched(first, messages, asked.tokens),
        f"{len(probes)} probes": lambda: watched(everything, messages, asked.tokens),
    }
    for run in runs.values() if asked.rounds > 2 else ():
        run()
    found: dict[str, list[list[float]]] = {name: [] for name in runs}
    order = list(runs)
    for number in range(asked.rounds):
        random.Random(number).shuffle(order)
        for name in order:
            found[name].append(runs[name]())
    for name, rounds in found.items():
        each = [statistics.median(np.diff(came[:-1])) for came in rounds]
        alone = [statistics.median(np.diff(came[:-1])) for came in found["bare"]]
        ratio = statistics.median(ours / theirs for ours, theirs in zip(each, alone, strict=True))
        whole = statistics.median(ours[-1] / theirs[-1] for ours, theirs in zip(rounds, found["bare"], strict=True))
        print(f"{name:10} {1000 * statistics.median(each):7.2f} ms a token, {ratio:.3f} of bare; reply {whole:.3f}")
    for count in (1, len(probes)):
        alone_us, late_us, grown = own_cost(dict(list(probes.items())[:count]))
        print(
            f"{count} probes: {alone_us:.0f} us a token at 100 to 600, {late_us:.0f} at 3,500 to 4,000; {grown} B more"
        )


def own_cost(probes: dict[str, mup.Probe]) -> tuple[float, float, int]:
    """What scoring alone costs, on random states: microseconds of a token early and late, and bytes that 3,900 add."""
    thresholds = {name: 0.5 for name in probes}
    hidden = max(probe.hidden for probe in probes.values())
    layers = {int(probe.provenance["layer"]) for probe in probes.values()}
    state = torch.randn(64, 1, 1, hidden, generator=torch.Generator().manual_seed(0))
    ids, roles = np.zeros(1, np.int32), np.full(1, ASSISTANT, np.int8)

    def run() -> Iterator[float]:
        scores = Scores(probes, thresholds)
        for number in range(4000):
            begun = time.thread_time_ns()
            scores.update({layer: state[number % 64] for layer in layers}, ids, roles)
            _ = scores.alone, scores.logits, scores.probabilities, scores.flagged
            yield (time.thread_time_ns() - begun) / 1000

    spent = list(run())
    tracemalloc.start()
    for number, _ in enumerate(run()):
        if number == 100:
            early = tracemalloc.get_traced_memory()[0]
    grown = tracemalloc.get_traced_memory()[0] - early
    tracemalloc.stop()
    return statistics.median(spent[100:600]), statistics.median(spent[3500:]), grown


def flags(asked: argparse.Namespace) -> None:
    """Print when replies to high-stakes prompts are flagged, and how many others are."""
    probes = {name: mup.load_probe(find_probe(name)) for name in asked.probe}
    monitor = mup.load_monitor(probes, fpr=asked.fpr)
    records = [record for file in asked.prompts for record in mup.read_records(file) if record.label is not None]
    random.Random(0).shuffle(records)
    for label in (mup.Label.HIGH, mup.Label.LOW):
        chosen = [record for record in records if record.label is label and prompt_of(record)][: asked.most]
        at: dict[str, list[int | None]] = {name: [] for name in probes}
        ends: list[int] = []
        for record in chosen:
            steps = list(monitor.generate(prompt_of(record), max_new_tokens=asked.tokens))
            ends.append(len(steps))
            for name, places in at.items():
                places.append(next((place for place, step in enumerate(steps, 1) if name in step.flagged), None))
        for name, places in at.items():
            there = [place for place in places if place is not None]
            first = sum(place == 1 for place in there)
            later = [place for place in there if place > 1]
            print(
                f"{label.value} {name}: {len(there)} of {len(places)} flagged in time, {first} at the first token "
                f"(by the prompt); the others at {sorted(later)}; replies of {statistics.median(ends):.0f} tokens",
                flush=True,
            )


def prompt_of(record: mup.Record) -> list[mup.Message]:
    """What the model is asked: the turns up to the last one of the user, if they are short."""
    turns = list(record.messages)
    while turns and turns[-1].role != "user":
        turns.pop()
    return turns if sum(len(turn.content) for turn in turns) < 1500 else []


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(required=True)
    for name, act in (("cost", cost), ("flags", flags)):
        part = parts.add_parser(name)
        part.set_defaults(act=act)
        part.add_argument("--probe", action="append", required=True)
        part.add_argument("--tokens", type=int, default=100)
        if act is cost:
            part.add_argument("--rounds", type=int, default=5)
            part.add_argument("--context", type=int, default=0, help="tokens of the prompt, about")
        else:
            part.add_argument("--prompts", type=Path, nargs="+", required=True)
            part.add_argument("--most", type=int, default=30)
            part.add_argument("--fpr", type=float, default=0.01)
    asked = parser.parse_args()
    asked.act(asked)


if __name__ == "__main__":
    main()
