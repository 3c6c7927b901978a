"""Reading speed and size of an activation store: one record at random, and all rows in order.

    python benchmarks/store.py data/activations/smollm2-135m/train/layer_16.zarr

Files are in the operating system's cache after the first round, so this is the speed of decompression; a slow disk
comes on top. The first round is reported too.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from models_under_pressure.activations.store import Store, open_store


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--records", type=int, default=300, help="records read at random")
    options = parser.parse_args()
    store = open_store(options.store)
    chosen = np.random.default_rng(0).integers(len(store.ids), size=options.records)
    times = [_timed(lambda index=index: store.record(int(index))) for index in chosen]
    rounds = [_megabytes_per_second(store) for _ in range(4)]
    rows = int(store.offsets[-1])
    size = sum(file.stat().st_size for file in options.store.rglob("*") if file.is_file())
    report = {
        "rows": rows,
        "files": sum(file.is_file() for file in options.store.rglob("*")),
        "bytes_per_token": {"on disk": round(size / rows, 1), "raw bfloat16": 2 * store.hidden},
        "record_ms": {
            "median": round(1e3 * statistics.median(times), 2),
            "95th": round(1e3 * float(np.quantile(times, 0.95)), 2),
            "longest": round(1e3 * max(times), 2),
        },
        "sequential_mb_per_second": {
            "first round": round(rounds[0][0]),
            "best": round(max(wall for wall, _ in rounds)),
            "best, per CPU second": round(max(cpu for _, cpu in rounds)),
        },
    }
    print(json.dumps(report, indent=2))


def _timed(read: Callable[[], object]) -> float:
    start = time.perf_counter()
    read()
    return time.perf_counter() - start


def _megabytes_per_second(store: Store) -> tuple[float, float]:
    """By the clock, and by the time of all cores, which other work on the machine does not slow; bits as stored."""
    rows = int(store.offsets[-1])
    clock, cores = time.perf_counter(), time.process_time()
    for first in range(0, rows, store.shard_rows):
        store.read_bits(first, min(rows, first + store.shard_rows))
    size = rows * store.hidden * 2 / 1e6
    return size / (time.perf_counter() - clock), size / (time.process_time() - cores)


if __name__ == "__main__":
    main()
