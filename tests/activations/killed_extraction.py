"""Extract in child processes that are killed at random moments, ten times, and once without: model, folder."""

import gc
import os
import random
import signal
import sys
import time
from pathlib import Path

from models_under_pressure.activations import engine as windows
from models_under_pressure.activations import writer
from models_under_pressure.activations.config import ExtractConfig, LoadedModel, ModelConfig
from models_under_pressure.activations.extract import extract
from models_under_pressure.activations.model import load_model
from models_under_pressure.core.records import Record

KILLS = 10


def start(model: LoadedModel, records: list[Record], path: Path) -> int:
    """Extract in a forked process, which keeps the loaded model."""
    pid = os.fork()
    if pid == 0:
        extract(records, model=model, config=ExtractConfig(), paths={2: path})
        os._exit(0)
    return pid


def journalled(path: Path) -> int:
    journal = path.with_name(path.name + ".partial") / "journal.jsonl"
    return len(journal.read_bytes().splitlines()) if journal.exists() else 0


def main(model_directory: str, folder: Path) -> None:
    writer._SHARD_BYTES = 64 * 2 * 32
    windows._WINDOW_ROWS = 128
    model = load_model(ModelConfig(name=model_directory, dtype="float32"))
    gc.freeze()  # the forks need not look through the libraries
    rng = random.Random(0)
    records = [Record(f"{index:04}", "word " * rng.randint(1, 60)) for index in range(120)]
    assert os.waitpid(start(model, records, folder / "whole.zarr"), 0)[1] == 0
    path = folder / "killed.zarr"
    for _ in range(KILLS):
        before = journalled(path)
        pid = start(model, records, path)
        wanted = before + rng.randint(0, 10)
        while journalled(path) <= wanted:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.02))
        os.kill(pid, signal.SIGKILL)
        assert os.WIFSIGNALED(os.waitpid(pid, 0)[1]), "the run ended before it was killed"
    assert os.waitpid(start(model, records, path), 0)[1] == 0


main(sys.argv[1], Path(sys.argv[2]))
