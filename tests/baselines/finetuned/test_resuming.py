"""A run that was stopped goes on to the same bits."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from models_under_pressure.baselines.finetuned.checkpoint import Checkpoints, checkpoint_root, checkpoints_of
from models_under_pressure.baselines.finetuned.classifier import make_classifier
from models_under_pressure.baselines.finetuned.reading import Reader
from models_under_pressure.baselines.finetuned.training import train
from models_under_pressure.core.errors import UserError

MODES = [
    {"method": "full", "optimiser": "adamw"},
    {"method": "full", "optimiser": "adamw8bit", "precision": "bfloat16"},
    {"method": "lora", "optimiser": "adamw"},
    {"method": "lora", "optimiser": "adamw8bit"},
    {"method": "qlora", "optimiser": "adamw8bit", "precision": "mixed"},
]


class Stopped(Exception):
    """Stands for a kill."""


def stop_at(monkeypatch, call):
    """Let the n-th pass fail, validation's passes counted."""
    passes = iter(range(call))
    original = Reader.logits

    def logits(self, batch):
        if next(passes, None) is None:
            raise Stopped
        return original(self, batch)

    monkeypatch.setattr(Reader, "logits", logits)


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: "-".join(mode.values()))
def test_a_run_stopped_again_and_again_equals_an_uninterrupted_one(mode, settings, split, tmp_path, monkeypatch):
    config = settings(epochs=3, batch_size=8, batch_tokens=200, checkpoint_minutes=0, learning_rate=2e-3, **mode)
    data, validation = split(20), split(12, start=500)
    whole = make_classifier(config, seed=0)
    expected = train(whole, data, validation, config=config, seed=0)
    stops = 0
    while True:
        classifier = make_classifier(config, seed=0)
        told = []
        with monkeypatch.context() as patch:
            stop_at(patch, 5)  # a pass or two further than the last checkpoint
            try:
                found = train(
                    classifier,
                    data,
                    validation,
                    config=config,
                    seed=0,
                    checkpoints=Checkpoints(tmp_path / "run"),
                    watch=lambda epoch, values, told=told: told.append((epoch, dict(values))),
                )
                break
            except Stopped:
                stops += 1
    assert stops >= 4
    assert found.history == expected.history
    assert found.best == expected.best
    curve = [(epoch.number, epoch.train_loss, epoch.validation_auroc) for epoch in expected.history]
    assert [(number, values["train_loss"], values["validation_auroc"]) for number, values in told] == curve
    for name, weight in whole.trained.items():
        assert torch.equal(classifier.trained[name], weight), name


@pytest.mark.slow
def test_a_process_killed_ten_times_ends_with_the_bytes_of_one_that_was_not(model, tmp_path, warm_run):
    done = warm_run(Path(__file__).with_name("killed_finetuning.py"), model, tmp_path)
    assert done.returncode == 0, done.stderr
    whole, killed = (tmp_path / name for name in ("whole", "killed"))
    for file in ("weights.safetensors", "finetuned.json"):
        assert (whole / file).read_bytes() == (killed / file).read_bytes()
    assert not list((tmp_path / "checkpoints").rglob("*.safetensors")), "checkpoints are left behind"


def test_a_damaged_checkpoint_is_named_with_a_remedy(settings, split, tmp_path):
    config = settings(epochs=1)
    kept = Checkpoints(tmp_path / "run")
    train(make_classifier(config, seed=0), split(8), split(8), config=config, seed=0, checkpoints=kept)
    (file,) = (tmp_path / "run").iterdir()
    whole = file.read_bytes()
    for content in (whole[:100], b"", save({}), save({"x": torch.zeros(1)}, {"state": "{"})):
        file.write_bytes(content)
        with pytest.raises(UserError, match=r"run/checkpoint\.safetensors: the checkpoint is damaged.*delete it"):
            kept.load()
    kept.remove()
    assert not list((tmp_path / "run").iterdir())


def test_two_processes_do_not_train_the_same_model(tmp_path):
    with (
        checkpoints_of("run", tmp_path),
        pytest.raises(UserError, match="another process is training this very model"),
        checkpoints_of("run", tmp_path),
    ):
        pass


def test_checkpoints_lie_where_the_variable_says(monkeypatch, tmp_path):
    monkeypatch.setenv("MUP_CHECKPOINTS", str(tmp_path))
    assert checkpoint_root() == tmp_path
    monkeypatch.delenv("MUP_CHECKPOINTS")
    assert checkpoint_root().name == "checkpoints"
