"""Where activations come from, and whether two come from the same place."""

from collections.abc import Mapping
from typing import Any

from models_under_pressure.core.errors import UserError

ORIGIN = ("model", "revision", "layer", "hook_point", "template_hash", "keep")
"""Attributes of activations that must agree for a score to mean anything."""

PROVENANCE = (*ORIGIN, "quantization", "compute_dtype", "tokenizer", "max_tokens", "truncation_side", "dataset")
"""Attributes of the training activations that a probe keeps: what shaped their numbers, wherever they were made."""


def provenance_of(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes that a probe keeps."""
    return {name: attributes[name] for name in PROVENANCE if name in attributes}


def check_same_origin(expected: Mapping[str, Any], found: Mapping[str, Any], *, what: str) -> None:
    """Refuse activations of another model, revision, layer, hook point, chat template or pooling.

    Raises:
        UserError: listing every attribute that differs.
    """
    differences = [
        f"{name} is {found.get(name)!r}, not {expected.get(name)!r}"
        for name in ORIGIN
        if found.get(name) != expected.get(name)
    ]
    if differences:
        raise UserError(
            f"{what} were not made where the probe reads: {'; '.join(differences)}.",
            remedy="extract them with the probe's model, layer and hook point, or train a probe for them.",
        )
