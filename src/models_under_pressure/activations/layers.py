"""Several layers of one model as one set of activations: the stores of each, joined per token."""

import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int8, Int32, Int64

from models_under_pressure.activations.config import ExtractConfig, LoadedModel
from models_under_pressure.activations.ragged import Activations
from models_under_pressure.activations.store import open_store
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.layers import layer_text, layers_of
from models_under_pressure.core.records import Record

_SHARED = (
    *("model", "revision", "quantization", "compute_dtype", "hook_point", "keep", "template_hash", "tokenizer"),
    *("adapter", "adapter_revision", "max_tokens", "truncation_side", "dataset"),
)
"""Attributes that must agree for a token of one layer to be the same token in another."""


class LayerStack:
    """What enters several layers, side by side: `[tokens, layers * hidden]`, lowest layer first, read in place."""

    ids: Sequence[str]
    """Record ids, in the order of the offsets."""
    offsets: Int64[np.ndarray, "records_plus_1"]
    """Record `i` owns the tokens `offsets[i]` up to but not including `offsets[i + 1]`."""
    roles: Int8[np.ndarray, "tokens"]
    """Role code of each token."""
    token_ids: Int32[np.ndarray, "tokens"] | None
    """Token ids; None where the parts have none."""

    def __init__(self, parts: Sequence[Activations]) -> None:
        """Join activations of one layer each, in any order.

        Raises:
            UserError: they are not of the same model, data, chat template and tokens, or two are of the same layer.
        """
        self._parts = sorted(parts, key=lambda part: layers_of(part.attributes))
        first = self._parts[0]
        self._layers = [layer for part in self._parts for layer in layers_of(part.attributes)]
        if len(set(self._layers)) < max(2, len(parts)) or len(self._layers) > len(parts):
            found = "; ".join(layer_text(part.attributes) for part in self._parts)
            raise UserError(f"the layers {found} are not distinct.", remedy="give each of several layers once.")
        for part in self._parts[1:]:
            _check_same_tokens(first, part)
        self.ids, self.offsets, self.roles = first.ids, first.offsets, first.roles
        self.token_ids = getattr(first, "token_ids", None)

    @property
    def hidden(self) -> int:
        """Width of all layers together."""
        return sum(part.hidden for part in self._parts)

    @property
    def attributes(self) -> Mapping[str, Any]:
        """Provenance of the parts, with `layers` in place of `layer`."""
        common = {name: value for name, value in self._parts[0].attributes.items() if name != "layer"}
        return common | {"layers": list(self._layers)}

    def read(self, start: int, stop: int) -> Float32[np.ndarray, "tokens hidden"]:
        """The activations of the tokens from `start` up to but not including `stop`."""
        return np.concatenate([part.read(start, stop) for part in self._parts], axis=1)

    def read_bits(self, start: int, stop: int) -> np.ndarray:
        """The same as the parts have them: bfloat16 bits as uint16, where all of them read so; else float32."""
        parts: list[Any] = self._parts
        if not all(hasattr(part, "read_bits") for part in parts):
            return self.read(start, stop)
        pieces: list[np.ndarray] = [part.read_bits(start, stop) for part in parts]
        alike = len({piece.dtype for piece in pieces}) == 1
        return np.concatenate(pieces, axis=1) if alike else self.read(start, stop)


def stacked(parts: Sequence[Activations]) -> Activations:
    """Activations of several layers as a `LayerStack`; those of one layer as they are.

    Raises:
        UserError: see `LayerStack`.
    """
    return parts[0] if len(parts) == 1 else LayerStack(parts)


def open_layers(stores: Path | Sequence[Path]) -> Activations:
    """Open the store of one layer, or those of several layers as one.

    Raises:
        UserError: a store is missing or damaged; or see `LayerStack`.
    """
    opened: list[Any] = [open_store(path) for path in ([stores] if isinstance(stores, Path) else stores)]
    return stacked(opened)


@contextmanager
def read_once(
    records: Sequence[Record], model: LoadedModel, layers: Sequence[int], config: ExtractConfig
) -> Generator[Activations]:
    """Yield the activations of conversations at some layers, in stores that are gone afterwards.

    Raises:
        UserError: see `extract`.
    """
    from models_under_pressure.activations.extract import extract

    with tempfile.TemporaryDirectory(prefix="mup-") as folder:
        paths = {layer: Path(folder) / f"layer_{layer}.zarr" for layer in layers}
        extract(records, model=model, config=config, paths=paths)
        yield open_layers([*paths.values()])


def _check_same_tokens(first: Activations, other: Activations) -> None:
    differ = [name for name in _SHARED if first.attributes.get(name) != other.attributes.get(name)]
    if list(first.ids) != list(other.ids):
        differ.append("records")
    for name in ("offsets", "roles", "token_ids"):
        ours: Any = getattr(first, name, None)
        theirs: Any = getattr(other, name, None)
        if not np.array_equal(ours, theirs):
            differ.append(name)
    if differ:
        pair = f"layers {layer_text(first.attributes)} and {layer_text(other.attributes)}"
        problem = f"the activations of {pair} differ in {', '.join(differ)}, so that tokens do not match."
        raise UserError(problem, remedy="extract both layers in one run (`mup extract`, `mup acts store --layers`).")
