"""Two questions put to a model before its numbers are believed, at the cost of three tiny forward passes."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from models_under_pressure.activations.hooks import Taps
from models_under_pressure.activations.model import LoadedModel
from models_under_pressure.activations.packing import packed
from models_under_pressure.core.errors import UserError

if TYPE_CHECKING:
    import torch

_LENGTHS = (17, 23)
_TOLERANCES = {"float32": 1e-4, "bfloat16": 0.03, "quantised": 0.1}
"""Greatest relative difference of hidden states that rounding explains; 8-bit rounding depends on the whole batch."""


def check_causal(model: LoadedModel, taps: Taps) -> None:
    """Refuse models whose tokens see what comes after them: right padding would change their numbers.

    Raises:
        UserError: the hidden states of a text change when text is added at its end.
    """
    tokens = _tokens(model.model)
    alone = taps.forward(input_ids=tokens[None, : _LENGTHS[0]])
    longer = taps.forward(input_ids=tokens[None])
    if not _agree(alone, {layer: state[:, : _LENGTHS[0]] for layer, state in longer.items()}, _tolerance(model)):
        raise UserError(
            "the model is not causal: its tokens see what comes after them.",
            where=model.name,
            remedy="use a decoder-only language model.",
        )


def packs_exactly(model: LoadedModel, taps: Taps) -> bool:
    """Whether records that share a row get the numbers that each gets alone."""
    import torch

    tokens = _tokens(model.model)
    alone = [taps.forward(input_ids=part[None]) for part in tokens.split(list(_LENGTHS))]
    positions = torch.cat([torch.arange(length, device=tokens.device) for length in _LENGTHS])
    with packed(model.model) as packing:
        packing.lengths = list(_LENGTHS)
        together = taps.forward(input_ids=tokens[None], position_ids=positions[None])
    return _agree(
        {layer: torch.cat([states[layer] for states in alone], dim=1) for layer in together},
        together,
        _tolerance(model),
    )


def _tokens(decoder: Any) -> "torch.Tensor":
    import torch

    embedding = decoder.get_input_embeddings().weight
    return torch.arange(sum(_LENGTHS), device=embedding.device) * 7 % embedding.shape[0]


def _tolerance(model: LoadedModel) -> float:
    return _TOLERANCES[model.dtype if model.config.quantization == "none" else "quantised"]


def _agree(some: "Mapping[int, torch.Tensor]", others: "Mapping[int, torch.Tensor]", tolerance: float) -> bool:
    def difference(layer: int) -> float:
        ours, theirs = some[layer].float(), others[layer].float()
        return float((ours - theirs).norm() / ours.norm())

    return all(difference(layer) < tolerance for layer in some)
