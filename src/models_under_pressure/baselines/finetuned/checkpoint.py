"""A training run on disk, so that a killed one goes on where it was.

Each run has a folder named by a hash of all that shapes it, and in it one file of tensors, whose header holds the plain
values. The file is replaced at once, so a kill at any moment leaves the older checkpoint whole.
"""

import json
import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import atomic_path

if TYPE_CHECKING:
    import torch
    from torch import nn

    Tensors = Mapping[str, torch.Tensor]

_FILE = "checkpoint.safetensors"


def checkpoint_root() -> Path:
    """Folder of all checkpoints: the variable MUP_CHECKPOINTS, else the user's data folder.

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


def read_tensors(path: Path, *, remedy: str) -> "dict[str, torch.Tensor]":
    """The tensors of a file.

    Raises:
        UserError: it is no safetensors file, or holds numbers that are not finite.
    """
    try:
        tensors: dict[str, Any] = tensor_files().load_file(path)
        wrong = sorted(name for name, one in tensors.items() if not one.isfinite().all())
    except Exception as error:  # the library raises errors of its own for each kind of damage
        problem = f"not weights as safetensors ({str(error).partition(chr(10))[0]})."
        raise UserError(problem, where=str(path), remedy=remedy) from None
    if wrong:
        raise UserError(f"not every number of {wrong[0]} is finite.", where=str(path), remedy=remedy)
    return tensors


class Checkpoints:
    """The latest checkpoint of one run."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / _FILE

    def load(self) -> Checkpoint | None:
        """The latest checkpoint, None if there is none.

        Raises:
            UserError: its file is damaged.
        """
        from safetensors import SafetensorError, safe_open

        broken = (OSError, SafetensorError, ValueError, KeyError, TypeError)  # the last three: a header without `state`

        for left in self._path.parent.glob(f".{_FILE}.*"):  # half-written by a killed run
            left.unlink()
        if not self._path.exists():
            return None
        parts: dict[str, dict[str, Any]] = {"weights": {}, "optimiser": {}, "best": {}}
        open_file: Any = safe_open
        try:
            with open_file(self._path, "pt") as file:
                state = json.loads(file.metadata()["state"])
                for key in file.keys():  # noqa: SIM118 - the library's own method
                    part, _, name = key.partition("/")
                    parts[part][name] = file.get_tensor(key)
        except broken as error:
            raise UserError(
                f"the checkpoint is damaged ({error}).", where=str(self._path), remedy="delete it to train anew."
            ) from None
        return Checkpoint(state, **parts)

    def save(self, checkpoint: Checkpoint) -> None:
        """Replace the latest checkpoint."""
        parts = {"weights": checkpoint.weights, "optimiser": checkpoint.optimiser, "best": checkpoint.best}
        tensors = {f"{part}/{name}": one.contiguous() for part, held in parts.items() for name, one in held.items()}
        with atomic_path(self._path) as temporary:
            tensor_files().save_file(tensors, temporary, {"state": json.dumps(checkpoint.state)})

    def remove(self) -> None:
        """Delete everything; the folder's lock stays."""
        for file in self._path.parent.glob(f"*{_FILE}*"):
            file.unlink()


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
