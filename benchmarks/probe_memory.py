"""Memory and time to train probes on more activations than memory holds.

python benchmarks/probe_memory.py --tokens 1000000 --hidden 4096 --store FOLDER
"""

import argparse
import json
import resource
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from models_under_pressure.activations.ragged import USER
from models_under_pressure.probes.data import TrainingData
from models_under_pressure.probes.families import FAMILIES
from models_under_pressure.probes.training import fit_probes


class Generated:
    """Activations that are computed when read, so that only what the trainer keeps counts as memory."""

    attributes: Mapping[str, Any] = {}

    def __init__(self, tokens: int, hidden: int, length: int = 200) -> None:
        records = tokens // length
        self.hidden = hidden
        self.offsets = np.arange(records + 1) * length
        self.ids = [str(number) for number in range(records)]
        self.roles = np.full(records * length, USER, dtype=np.int8)
        self.labels = np.arange(records) % 2 == 0
        generator = np.random.default_rng(0)
        self._noise = generator.normal(size=(997, hidden)).astype(np.float32)
        self._direction = (generator.normal(size=hidden) * 0.05).astype(np.float32)

    def read(self, start: int, stop: int) -> np.ndarray:
        """Noise, and a lean along a direction by the record's label."""
        tokens = np.arange(start, stop)
        values = self._noise[tokens % len(self._noise)]
        values[tokens // 200 % 2 == 0] += self._direction
        return values


def memory(tokens: int, hidden: int) -> None:
    """Train an attention and a mean probe on data larger than memory, and print time, peak memory and AUROC."""
    splits = [
        TrainingData(found, found.labels, found.ids)
        for found in (Generated(tokens, hidden), Generated(tokens // 10, hidden))
    ]
    configs = {"attention": FAMILIES["attention"].config(epochs=2), "mean": FAMILIES["mean"].config()}
    start = time.perf_counter()
    probes = fit_probes(configs, splits[0], splits[1], seed=0)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    aurocs = {name: round(found[0].metrics["validation_auroc"], 4) for name, found in probes.items()}
    print(json.dumps({"seconds": round(time.perf_counter() - start, 1), "peak_gib": round(peak, 2), "auroc": aurocs}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=1_000_000)
    parser.add_argument("--hidden", type=int, default=4096)
    options = parser.parse_args()
    memory(options.tokens, options.hidden)
