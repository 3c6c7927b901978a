"""Whether activations come from the same place in the same model."""

from collections.abc import Mapping
from typing import Any

from models_under_pressure.errors import UserError

ORIGIN = ("model", "revision", "layer", "hook_point", "template_hash")
"""Attributes that must agree for a score to mean anything."""


def check_same_origin(expected: Mapping[str, Any], found: Mapping[str, Any], *, what: str) -> None:
    """Refuse activations of another model, revision, layer, hook point or chat template.

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
            f"the {what} do not fit the probe: {'; '.join(differences)}.",
            remedy="extract them with the model, layer and hook point of the probe, or train a probe for them.",
        )
