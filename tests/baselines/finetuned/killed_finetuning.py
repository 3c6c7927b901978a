"""Finetune in child processes that are killed at random moments, ten times, and once without: model, folder."""

import gc
import importlib.util
import os
import random
import signal
import sys
import time
from pathlib import Path

from models_under_pressure.baselines.finetuned.config import FinetuneConfig
from models_under_pressure.baselines.finetuned.run import finetune

SPEC = importlib.util.spec_from_file_location("making", Path(__file__).with_name("making.py"))
making = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(making)

KILLS = 10


def start(config: FinetuneConfig, folder: Path, name: str) -> int:
    """Finetune in a forked process, which need not import everything again."""
    pid = os.fork()
    if pid == 0:
        data, validation = making.sentences(40), making.sentences(8, start=500)
        finetune(folder / name, data, validation, config=config, seed=0, checkpoints=folder / "checkpoints")
        os._exit(0)
    return pid


def saved(folder: Path) -> float:
    """When the latest checkpoint was left."""
    return max(
        (path.stat().st_mtime_ns for path in (folder / "checkpoints").glob("*/checkpoint.safetensors")), default=0
    )


def main(model: str, folder: Path) -> None:
    import bitsandbytes  # noqa: F401 - loaded once, before the forks
    import peft  # noqa: F401
    import torch

    torch.set_num_threads(1)
    gc.freeze()  # the forks need not look through the libraries
    config = FinetuneConfig(
        model=model, precision="float32", epochs=8, batch_size=4, batch_tokens=400, lora_rank=4, checkpoint_minutes=0
    )
    assert os.waitpid(start(config, folder, "whole"), 0)[1] == 0
    rng = random.Random(0)
    for _ in range(KILLS):
        before = saved(folder)
        pid = start(config, folder, "killed")
        while saved(folder) == before:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.1))
        os.kill(pid, signal.SIGKILL)
        assert os.WIFSIGNALED(os.waitpid(pid, 0)[1]), "the run ended before it was killed"
    assert os.waitpid(start(config, folder, "killed"), 0)[1] == 0


main(sys.argv[1], Path(sys.argv[2]))
