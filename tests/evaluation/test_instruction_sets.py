"""Metrics, as they are written, are the same on CPUs of other instruction sets: one of fewer is played by this CPU."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

CAPS = {
    "AVX512": ("AVX2", "Haswell", "X86_V4 AVX512_ICL AVX512_SPR"),
    "AVX2": ("DEFAULT", "Nehalem", "X86_V3"),
}
"""What this CPU has -> what torch is held to, the core that OpenBLAS takes it for, what NumPy leaves out."""
CONTINUOUS = ("brier", "log_loss", "ece", "adaptive_ece")
HERE = torch.backends.cpu.get_cpu_capability()


SCRIPT = Path(__file__).with_name("measured_on_this_cpu.py")


def with_fewer_instructions(tasks):
    """What a process on fewer instructions finds."""
    capability, core, without = CAPS[HERE]
    oldest = capability == "DEFAULT"
    settings = {
        "ATEN_CPU_CAPABILITY": capability.lower(),
        "ONEDNN_MAX_CPU_ISA": "SSE41" if oldest else "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2" if oldest else "AVX2",
        "OPENBLAS_CORETYPE": core,
        "NPY_DISABLE_CPU_FEATURES": without,
    }
    finished = subprocess.run(
        [sys.executable, SCRIPT, json.dumps(tasks)],
        env=os.environ | settings,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory) -> Path:
    """A random Llama, 64 wide, with the embedded model's tokenizer."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaModel

    from models_under_pressure.activations.embedded import embedded_model

    directory = tmp_path_factory.mktemp("tiny")
    tokenizer = AutoTokenizer.from_pretrained(embedded_model())
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.2,
    )
    LlamaModel(config).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def ranked(metrics):
    """What hangs on the order of records, or the side of 1/2 on which they lie."""
    return {name: value for name, value in metrics.items() if not name.startswith(CONTINUOUS)}


@pytest.mark.slow
@pytest.mark.skipif(HERE not in CAPS, reason="this CPU has no instruction set that it could do without")
def test_metrics_as_written_are_the_same_with_fewer_instructions(tiny_model, tmp_path):
    tasks = [
        {"model": str(tiny_model), "layer": 3, "pairs": 40, "families": ["mean_logistic", "attention"]},
        {"model": "smollm2-135m", "layer": 4, "pairs": 10, "families": ["mean_logistic"]},
    ]
    measured = runpy.run_path(str(SCRIPT))["measured"]
    both = zip(
        [measured(tmp_path / f"whole {number}", **task) for number, task in enumerate(tasks)],
        with_fewer_instructions([(str(tmp_path / f"fewer {number}"), task) for number, task in enumerate(tasks)]),
        strict=True,
    )
    for whole, fewer in both:
        assert (whole["instructions"], fewer["instructions"]) == (HERE, CAPS[HERE][0])
        for monitor, metrics in whole["metrics"].items():
            assert ranked(metrics) == ranked(fewer["metrics"][monitor]), monitor
            assert metrics == pytest.approx(fewer["metrics"][monitor], abs=0.001), monitor
        for family in whole["logits"].keys() & {"mean_logistic", "attention"}:
            assert 0.5 < whole["metrics"][family]["auroc"] < 1.0  # something was there to differ
            assert whole["logits"][family] != fewer["logits"][family]  # and numbers did
