"""Recomputing a sample of a store's records, to compare what is on disk with what the model says."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models_under_pressure.activations.config import ExtractConfig
from models_under_pressure.activations.forward import prepared
from models_under_pressure.activations.model import load_model, model_of
from models_under_pressure.activations.store import Store, to_float32
from models_under_pressure.activations.tokens import TokenisedRecord
from models_under_pressure.core.errors import UserError

_TOLERANCES = {"float32": 0.01, "bfloat16": 0.03, "quantised": 0.1}
"""Greatest relative difference of a record's activations on another machine; the store itself is rounded by 0.004."""


@dataclass(frozen=True)
class Recomputed:
    """A record of a store against the same record computed now."""

    id: str
    identical: bool
    """Whether all bits agree."""
    difference: float
    """Norm of the difference over the norm of the activations."""


def recompute(store: Store, *, sample: int, seed: int) -> list[Recomputed]:
    """Verify the checksums of a store, then run a random sample of its records through the model again.

    Raises:
        UserError: a file is damaged; the model is not the one of the store; the tokens were not kept (a pooled
            store); or a record differs by more than rounding on another machine explains.
    """
    store.verify()
    attributes = store.attributes
    if attributes["keep"] != "tokens":
        raise UserError(
            "a store of pooled vectors has no tokens to compute again; its checksums agree.",
            where=str(store.path),
            remedy="compare it with a new extraction.",
        )
    layer = int(attributes["layer"])
    model = load_model(model_of(attributes), layers=[layer])
    if model.revision != attributes["revision"]:
        raise UserError(
            f"the model's revision is {model.revision}, the store was made with {attributes['revision']}.",
            where=str(store.path),
            remedy="extract again with the present model, or bring back the old one.",
        )
    chosen = np.sort(np.random.default_rng(seed).permutation(len(store.ids))[:sample]).tolist()
    records = {index: _record(store, index) for index in chosen}
    config = ExtractConfig(
        hook_point=attributes["hook_point"], stored="bfloat16" if store.dtype == np.uint16 else "float32"
    )
    with prepared(model, [layer], config) as forward:
        fresh = {index: values[layer] for index, values in forward.run(records)}
    results = [_compare(store, index, fresh[index]) for index in chosen]
    _judge(store, results)
    return results


def _record(store: Store, index: int) -> TokenisedRecord:
    rows = slice(*store.offsets[index : index + 2].tolist())
    return TokenisedRecord(store.ids[index], store.token_ids[rows], store.roles[rows])


def _compare(store: Store, index: int, fresh: np.ndarray) -> Recomputed:
    kept = store.read_bits(*store.offsets[index : index + 2].tolist())
    ours, theirs = to_float32(kept), to_float32(fresh)
    difference = float(np.linalg.norm(ours - theirs) / np.linalg.norm(ours))
    return Recomputed(store.ids[index], bool(np.array_equal(kept, fresh)), difference)


def _judge(store: Store, results: Sequence[Recomputed]) -> None:
    quantised = store.attributes["quantization"] != "none"
    tolerance = _TOLERANCES["quantised" if quantised else store.attributes["compute_dtype"]]
    wrong = [result for result in results if not result.difference <= tolerance]
    if wrong:
        raise UserError(
            f"{len(wrong)} of {len(results)} records differ from the model's numbers, first {wrong[0].id!r} by "
            f"{wrong[0].difference:.1%}.",
            where=str(store.path),
            remedy="delete the store and extract again.",
        )
