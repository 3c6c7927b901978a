"""Which layers activations are of, as their attributes and a probe's provenance say it."""

from collections.abc import Mapping
from typing import Any


def layers_of(attributes: Mapping[str, Any]) -> tuple[int, ...]:
    """Decoder blocks, from 0, whose input activations are, or that a probe of this provenance reads; none if untold."""
    if attributes.get("layers") is not None:
        return tuple(int(layer) for layer in attributes["layers"])
    return () if attributes.get("layer") is None else (int(attributes["layer"]),)


def layer_text(attributes: Mapping[str, Any]) -> str:
    """The same to be read: `16`, or `11, 16, 21`; a question mark if untold."""
    return ", ".join(map(str, layers_of(attributes))) or "?"


def layers_text(attributes: Mapping[str, Any]) -> str:
    """The same with its noun: `layer 16`, or `layers 11, 16, 21`."""
    return f"layer{'s' if len(layers_of(attributes)) > 1 else ''} {layer_text(attributes)}"
