"""Time and memory of the overlap gate, and of the pairwise substring scan that it takes the place of.

    uv run python benchmarks/overlap.py gate 100000
    uv run python benchmarks/overlap.py scan 2000

Rows are pseudo-random words with the lengths of the training prompts (20 to 200 words, seeded); 1 in 100 test rows
repeats a dev row, a third each as it is, with a word changed, and inside a longer text.
"""

import argparse
import random
import resource
import time

from models_under_pressure.core.records import Record
from models_under_pressure.datasets.overlap import OverlapConfig, find_overlaps

CONFIG = OverlapConfig(jaccard=0.8, shingle_words=3, containment_words=8)
PLANTED = 100


def main() -> None:
    """Run one of the two and print a line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["gate", "scan"])
    parser.add_argument("rows", type=int, help="rows of each split")
    options = parser.parse_args()
    dev, test = corpus(options.rows)
    start = time.perf_counter()
    found = len(gate(dev, test) if options.what == "gate" else scan(dev, test))
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{options.what} {options.rows:,} x {options.rows:,}: {found:,} pairs, {seconds:.1f} s, {peak:.2f} GiB")


def corpus(rows: int) -> tuple[list[Record], list[Record]]:
    """Two splits with known overlaps."""
    rng = random.Random(0)
    vocabulary = [f"w{number}" for number in range(20_000)]
    weights = [1 / (rank + 10) for rank in range(len(vocabulary))]

    def text() -> list[str]:
        return rng.choices(vocabulary, weights, k=rng.choice([20, 50, 100, 200]))

    dev = [text() for _ in range(rows)]
    test: list[list[str]] = []
    for number in range(rows):
        words = text()
        if number % PLANTED == 0:
            source = dev[rng.randrange(rows)]
            kind = number // PLANTED % 3
            words = [list(source), [*source[:5], "changed", *source[6:]], [*words[:10], *source, *words[10:]]][kind]
        test.append(words)
    return [Record(f"d{n}", " ".join(t)) for n, t in enumerate(dev)], [
        Record(f"t{n}", " ".join(t)) for n, t in enumerate(test)
    ]


def gate(dev: list[Record], test: list[Record]) -> list[object]:
    """The check as the pipeline runs it."""
    return list(find_overlaps({"dev": dev, "test": test}, CONFIG))


def scan(dev: list[Record], test: list[Record]) -> list[object]:
    """Every pair, one substring test each."""
    texts = [record.text for record in dev]
    return [(row.id, index) for row in test for index, text in enumerate(texts) if row.text in text]


if __name__ == "__main__":
    main()
