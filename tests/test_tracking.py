import subprocess
import sys

import pytest

from models_under_pressure.core import settings as tracking
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.settings import tracked

EPOCHS = [{"train_loss": 0.7, "validation_auroc": 0.5}, {"train_loss": 0.4, "validation_auroc": 0.875}]


def follow(folder, **options):
    with tracked(folder, "probe", {"learning_rate": 0.1}, **options) as watch:
        for number, values in enumerate(EPOCHS, start=1):
            watch(number, values)


def files(folder):
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_curve_is_a_table_of_steps_and_values(tmp_path):
    follow(tmp_path / "curve")
    assert files(tmp_path / "curve") == {
        "plots/metrics/train_loss.tsv": "step\ttrain_loss\n1\t0.7\n2\t0.4\n",
        "plots/metrics/validation_auroc.tsv": "step\tvalidation_auroc\n1\t0.5\n2\t0.875\n",
    }


def test_a_second_training_takes_the_place_of_the_first(tmp_path):
    follow(tmp_path)
    before = files(tmp_path)
    follow(tmp_path)
    assert files(tmp_path) == before


def test_without_a_key_nothing_of_weights_and_biases_is_imported(tmp_path):
    script = (
        "import sys; from pathlib import Path; from models_under_pressure.core.settings import tracked\n"
        f"with tracked(Path({str(tmp_path)!r}), 'r', {{}}) as watch: watch(1, {{'loss': 1.0}})\n"
        "assert 'wandb' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.fixture
def weights_and_biases(tmp_path, monkeypatch):
    """Follow a training with a key in a folder of its own; returns when the library's own process has written all."""
    monkeypatch.chdir(tmp_path)
    for name, value in {"WANDB_MODE": "offline", "HOME": str(tmp_path), "WANDB_API_KEY": ""}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("WANDB_API_KEY")  # what the library is given goes with the test

    def follow_with(key):
        import wandb

        follow(tmp_path / "curve", wandb_key=key)
        wandb.teardown()
        return tmp_path

    return follow_with


@pytest.mark.slow
def test_with_a_key_the_same_values_go_to_weights_and_biases_and_the_key_to_no_file(weights_and_biases):
    key = "a1b2c3d4e5" * 4
    folder = weights_and_biases(key)
    (log,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    sent = log.read_bytes()
    assert all(name.encode() in sent and str(value).encode() in sent for name, value in EPOCHS[1].items())
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > len(EPOCHS)
    assert not [path for path in files if key.encode() in path.read_bytes()]


def test_a_key_without_the_library_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"models-under-pressure\[wandb\]"):
        follow(tmp_path, wandb_key="0" * 40)
