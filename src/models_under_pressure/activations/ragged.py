"""Ragged activations: a flat `[tokens, hidden]` array cut into records by offsets, in memory or on disk."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float32, Int8, Int32, Int64

SYSTEM, USER, ASSISTANT, TEMPLATE = range(4)
"""Role codes of tokens; TEMPLATE marks what the chat template adds around the content."""


class Activations(Protocol):
    """What probes read: a store on disk or an array in memory."""

    @property
    def ids(self) -> Sequence[str]:
        """Record ids, in the order of the offsets."""
        ...

    @property
    def offsets(self) -> Int64[np.ndarray, "records_plus_1"]:
        """Record `i` owns the tokens `offsets[i]` up to but not including `offsets[i + 1]`."""
        ...

    @property
    def roles(self) -> Int8[np.ndarray, "tokens"]:
        """Role code of each token."""
        ...

    @property
    def hidden(self) -> int:
        """Width of an activation."""
        ...

    @property
    def attributes(self) -> Mapping[str, Any]:
        """Provenance: model, revision, layer, hook point, template hash, dataset hash and more."""
        ...

    def read(self, start: int, stop: int) -> Float32[np.ndarray, "tokens hidden"]:
        """The activations of the tokens from `start` up to but not including `stop`."""
        ...


@dataclass(frozen=True, eq=False)
class ArrayActivations:
    """Activations held in memory."""

    values: Float32[np.ndarray, "tokens hidden"]
    offsets: Int64[np.ndarray, "records_plus_1"]
    ids: Sequence[str]
    roles: Int8[np.ndarray, "tokens"]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    token_ids: Int32[np.ndarray, "tokens"] | None = None

    @property
    def hidden(self) -> int:
        """Width of an activation."""
        return int(self.values.shape[1])

    def read(self, start: int, stop: int) -> Float32[np.ndarray, "tokens hidden"]:
        """The activations of the tokens from `start` up to but not including `stop`."""
        return self.values[start:stop]
