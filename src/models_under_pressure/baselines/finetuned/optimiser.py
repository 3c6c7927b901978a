"""The optimiser, its learning rate, and its state as plain tensors and numbers."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from models_under_pressure.baselines.finetuned.config import FinetuneConfig

if TYPE_CHECKING:
    import torch
    from torch import nn


def make_optimiser(weights: "Mapping[str, nn.Parameter]", config: FinetuneConfig) -> "torch.optim.Optimizer":
    """AdamW (Loshchilov and Hutter 2019), its moments in float32 or 8 bits."""
    settings: dict[str, Any] = {"lr": config.learning_rate, "weight_decay": config.weight_decay}
    if config.optimiser == "adamw8bit":
        from bitsandbytes.optim.adamw import AdamW8bit

        return AdamW8bit(list(weights.values()), **settings)
    import torch

    return torch.optim.AdamW(list(weights.values()), **settings)


def learning_rate(config: FinetuneConfig, epoch: int) -> float:
    """The rate of an epoch, counted from 0: a step down every `decay_every` epochs."""
    return config.learning_rate * config.decay ** (epoch // config.decay_every)


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
