"""Records through a classifier: packed or padded batches in, two logits per record out."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Float64

from models_under_pressure.activations.batches import plan_batches
from models_under_pressure.activations.inputs import packed_inputs, padded_inputs
from models_under_pressure.activations.packing import Packing, packed
from models_under_pressure.activations.tokens import TokenisedRecord
from models_under_pressure.baselines.finetuned.classifier import Classifier
from models_under_pressure.errors import UserError

if TYPE_CHECKING:
    import torch


class Reader:
    """Reads batches with a classifier."""

    def __init__(self, classifier: Classifier, packing: Packing | None) -> None:
        self._classifier, self._packing = classifier, packing

    def logits(self, batch: "Sequence[np.ndarray]") -> "Float[torch.Tensor, 'records 2']":
        """Logits of low and high stakes of a few records, given as token ids, on the head's device.

        Raises:
            UserError: memory does not hold the batch.
        """
        import torch

        head = self._classifier.head
        try:
            with self._arithmetic():
                states = self._classifier.decoder(**self._inputs(batch), use_cache=False).last_hidden_state
        except torch.OutOfMemoryError as error:
            raise UserError(
                f"memory does not hold a pass of {sum(map(len, batch)):,} tokens.",
                where=self._classifier.loaded.name,
                remedy="lower `batch_tokens` or `max_tokens`, or set `gradient_checkpointing: true`.",
            ) from error
        width = states.shape[1]
        last = _last_tokens([len(tokens) for tokens in batch], width, packed=self._packing is not None)
        final = states.reshape(-1, states.shape[-1])[last.to(states.device)].to(head.weight)
        # a product and a sum: the kernels of a matrix product depend on the number of records
        return (final[:, None] * head.weight).sum(dim=-1) + head.bias

    def _inputs(self, batch: "Sequence[np.ndarray]") -> "dict[str, torch.Tensor]":
        device = self._classifier.decoder.get_input_embeddings().weight.device
        if self._packing is None:
            return padded_inputs(batch, device)
        return packed_inputs(batch, self._packing, device)

    def _arithmetic(self):  # noqa: ANN202 - either of two context managers
        import torch

        if self._classifier.precision != "mixed":
            return nullcontext()
        return torch.autocast(self._classifier.head.weight.device.type, torch.bfloat16)


@contextmanager
def reading(classifier: Classifier) -> Iterator[Reader]:
    """Prepare a classifier's attention for the batches to come."""
    if not classifier.packs:
        yield Reader(classifier, None)
        return
    with packed(classifier.decoder) as packing:
        yield Reader(classifier, packing)


def score(
    classifier: Classifier, records: Sequence[TokenisedRecord], *, batch_tokens: int
) -> Float64[np.ndarray, "records"]:
    """Log-odds of high stakes of each record.

    Raises:
        UserError: naming a record whose score is not finite.
    """
    import torch

    lengths = np.array([len(record.token_ids) for record in records], dtype=np.int64)
    found = np.empty(len(records))
    classifier.decoder.eval()
    with torch.inference_mode(), reading(classifier) as reader:
        for batch in plan_batches(lengths, budget=batch_tokens, packing=classifier.packs):
            rows = list(batch.records)
            logits = reader.logits([records[row].token_ids for row in rows]).double()
            found[rows] = (logits[:, 1] - logits[:, 0]).cpu().numpy()
    if not np.isfinite(found).all():
        bad = records[int(np.flatnonzero(~np.isfinite(found))[0])]
        raise UserError(
            "the score is not finite.",
            where=f"record {bad.id!r}",
            remedy="train with `precision: float32` or a lower learning rate.",
        )
    return found


def _last_tokens(lengths: Sequence[int], width: int, *, packed: bool) -> "torch.Tensor":
    """Place of each record's last real token in the flattened batch.

    Known from the lengths, never by looking for pad tokens: these may be tokens that also end turns.
    """
    import torch

    if packed:
        return torch.tensor(np.cumsum(lengths) - 1)
    return torch.tensor([row * width + length - 1 for row, length in enumerate(lengths)])
