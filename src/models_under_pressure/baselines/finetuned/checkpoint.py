"""A training run on disk, so that a killed one goes on where it was: safetensors and JSON.

Each run has a folder named by a hash of all that shapes it. Tensors are written under new names; `state.json`, replaced
last and at once, says which of them belong together, so a kill at any moment leaves the older checkpoint whole.
"""

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import atomic_path, read_json, write_json

if TYPE_CHECKING:
    import torch
    from torch import nn

    Tensors = Mapping[str, torch.Tensor]

_STATE = "state.json"


def checkpoint_root() -> Path:
    """Where checkpoints are: the variable MUP_CHECKPOINTS, else the user's data folder.

    Outside of the project, because DVC removes a stage's outputs before it runs and a queued experiment's folder after.
    """
    if override := os.environ.get("MUP_CHECKPOINTS"):
        return Path(override)
    from platformdirs import user_data_path

    return user_data_path("models-under-pressure") / "checkpoints"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A run between two optimiser steps."""

    state: dict[str, Any]
    """Plain values: where the run is, its history."""
    weights: "Tensors"
    optimiser: "Tensors"
    best: "Tensors"
    """The best epoch's weights; empty before the end of the first epoch."""


def tensor_files() -> Any:
    """`load_file` and `save_file` of tensors, which are not typed whole."""
    return import_module("safetensors.torch")


class Checkpoints:
    """The latest checkpoint of one run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self) -> Checkpoint | None:
        """The latest checkpoint, None if there is none.

        Raises:
            UserError: a file of it is missing or damaged.
        """
        from safetensors import SafetensorError

        path = self._folder / _STATE
        if not path.exists():
            self._keep_only({})
            return None
        content = read_json(path)
        self._keep_only(content["files"])  # a killed run may have left more
        try:
            tensors: dict[str, Any] = {
                part: tensor_files().load_file(self._folder / name) for part, name in content["files"].items()
            }
        except (OSError, SafetensorError) as error:
            raise UserError(
                f"the checkpoint is damaged ({error}).", where=str(path), remedy="delete this folder to train anew."
            ) from None
        return Checkpoint(content["state"], tensors["weights"], tensors["optimiser"], tensors.get("best") or {})

    def save(self, checkpoint: Checkpoint, *, step: int, best_epoch: int | None) -> None:
        """Replace the latest checkpoint.

        Args:
            checkpoint: what to keep.
            step: optimiser steps so far; part of the files' names.
            best_epoch: the epoch whose weights `best` holds; these are written once.
        """
        names = {"weights": f"weights-{step}.safetensors", "optimiser": f"optimiser-{step}.safetensors"}
        self._write(names["weights"], checkpoint.weights)
        self._write(names["optimiser"], checkpoint.optimiser)
        if best_epoch is not None:
            names["best"] = f"best-{best_epoch}.safetensors"
            if not (self._folder / names["best"]).exists():
                self._write(names["best"], checkpoint.best)
        write_json(self._folder / _STATE, {"files": names, "state": checkpoint.state})
        self._keep_only(names)

    def remove(self) -> None:
        """Delete everything; the folder's lock stays."""
        (self._folder / _STATE).unlink(missing_ok=True)
        self._keep_only({})

    def _keep_only(self, names: Mapping[str, str]) -> None:
        for file in self._folder.glob("*.safetensors"):
            if file.name not in names.values():
                file.unlink()

    def _write(self, name: str, tensors: "Tensors") -> None:
        with atomic_path(self._folder / name) as temporary:
            tensor_files().save_file({key: value.contiguous() for key, value in tensors.items()}, temporary)


@contextmanager
def checkpoints_of(run: str, root: Path) -> Generator[Checkpoints]:
    """The checkpoints of a run, for this process alone.

    Args:
        run: hash of all that shapes the run.
        root: folder of all runs' checkpoints.

    Raises:
        UserError: another process is at the same run.
    """
    from filelock import FileLock, Timeout

    folder = root / run
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / "lock", timeout=0):
            yield Checkpoints(folder)
    except Timeout:
        raise UserError(
            "another process is training this very model.", where=str(folder), remedy="wait for it, or end it."
        ) from None


def state_of(
    optimiser: "torch.optim.Optimizer", weights: "Mapping[str, nn.Parameter]"
) -> "tuple[dict[str, torch.Tensor], dict[str, float]]":
    """Tensors (moments, scales) and numbers (step counts) of the optimiser, by `<weight>/<entry>`."""
    import torch

    tensors: dict[str, torch.Tensor] = {}
    numbers: dict[str, float] = {}
    for name, weight in weights.items():
        for entry, value in optimiser.state.get(weight, {}).items():
            if isinstance(value, torch.Tensor):
                tensors[f"{name}/{entry}"] = value.detach().to("cpu", copy=True)  # 8-bit ones share their code
            else:
                numbers[f"{name}/{entry}"] = value
    return tensors, numbers


def restore_state(
    optimiser: "torch.optim.Optimizer",
    weights: "Mapping[str, nn.Parameter]",
    tensors: "Mapping[str, torch.Tensor]",
    numbers: Mapping[str, float],
) -> None:
    """Undo `state_of`.

    The library's own `load_state_dict` casts moments to the type of their weight, which would spoil 8-bit ones.
    """
    for key, value in [*tensors.items(), *numbers.items()]:
        name, _, entry = key.rpartition("/")
        weight = weights[name]
        if isinstance(value, int | float) or entry == "step":  # PyTorch keeps this tensor on the CPU
            optimiser.state[weight][entry] = value
        else:
            optimiser.state[weight][entry] = value.to(weight.device)
