"""Records through a classifier: packed or padded batches in, two logits per record out."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Float64

from models_under_pressure.activations.batches import (
    Packing,
    packed,
    packed_inputs,
    padded_inputs,
    plan_batches,
    run_batches,
    side_by_side,
)
from models_under_pressure.activations.blocks import tapped
from models_under_pressure.activations.tokens import TokenisedRecord
from models_under_pressure.baselines.finetuned.classifier import Classifier
from models_under_pressure.baselines.finetuned.config import FrozenStates, places, skipping
from models_under_pressure.core.errors import UserError

if TYPE_CHECKING:
    import torch

_TOLERANCES = {"float32": 1e-4, "mixed": 0.05, "bfloat16": 0.05}
"""Greatest relative difference of hidden states that rounding explains."""


class Reader:
    """Reads batches with a classifier."""

    def __init__(self, classifier: Classifier, packing: Packing | None, frozen: FrozenStates | None = None) -> None:
        self._classifier, self._packing, self._frozen = classifier, packing, frozen

    def logits(self, batch: "Sequence[np.ndarray]") -> "Float[torch.Tensor, 'records 2']":
        """Logits of low and high stakes of a few records, given as token ids, on the head's device.

        Raises:
            UserError: memory does not hold the batch.
        """
        head = self._classifier.head
        # a product and a sum: the kernels of a matrix product depend on the number of records
        return (self.pooled(batch)[:, None] * head.weight).sum(dim=-1) + head.bias

    def pooled(self, batch: "Sequence[np.ndarray]") -> "Float[torch.Tensor, 'records hidden']":
        """What the head reads of a few records, in float32.

        Raises:
            UserError: memory does not hold the batch.
        """
        import torch

        try:
            states = self.states(batch)
        except torch.OutOfMemoryError as error:
            raise UserError(
                f"memory does not hold a pass of {sum(map(len, batch)):,} tokens.",
                where=self._classifier.loaded.name,
                remedy="lower `batch_tokens` or `max_tokens`, or set `gradient_checkpointing: true`.",
            ) from error
        # the place of the last token is known from the length, never by looking for pad tokens, which may end turns
        last, weight = self._classifier.pooling == "last", self._classifier.head.weight
        parts = [states[place] for place in places(batch, packed=self._packing is not None)]
        return torch.stack([part[-1].to(weight) if last else part.to(weight).mean(dim=0) for part in parts])

    def states(self, batch: "Sequence[np.ndarray]") -> "Float[torch.Tensor, 'rows width hidden']":
        """Final hidden states of a batch."""
        inputs = self._inputs(batch)
        if self._frozen:
            self._frozen.lay_out(batch, inputs["input_ids"], packed=self._packing is not None)
        with _arithmetic(self._classifier):
            return self._classifier.decoder(**inputs, use_cache=False).last_hidden_state

    def _inputs(self, batch: "Sequence[np.ndarray]") -> "dict[str, torch.Tensor]":
        return _inputs(self._classifier, batch, self._packing)


@contextmanager
def reading(classifier: Classifier, frozen: FrozenStates | None = None) -> Iterator[Reader]:
    """Prepare a classifier's attention for the batches to come.

    Args:
        classifier: the model and its head.
        frozen: the states of all records to come, if the frozen blocks are to be skipped.
    """
    with ExitStack() as stack:
        packing = stack.enter_context(packed(classifier.decoder)) if classifier.packs else None
        if frozen:
            stack.enter_context(skipping(classifier.decoder, classifier.first_trained, frozen))
        yield Reader(classifier, packing, frozen)


def score(
    classifier: Classifier,
    records: Sequence[TokenisedRecord],
    *,
    batch_tokens: int,
    frozen: FrozenStates | None = None,
) -> Float64[np.ndarray, "records"]:
    """Log-odds of high stakes of each record; on a CPU each core reads batches of its own.

    Raises:
        UserError: naming a record whose score is not finite.
    """

    def log_odds(reader: Reader, batch: list[np.ndarray]) -> "torch.Tensor":
        logits = reader.logits(batch).double()
        return logits[:, 1] - logits[:, 0]

    found = _read_all(classifier, records, log_odds, batch_tokens=batch_tokens, frozen=frozen)
    if not np.isfinite(found).all():
        bad = records[int(np.flatnonzero(~np.isfinite(found))[0])]
        raise UserError(
            "the score is not finite.",
            where=f"record {bad.id!r}",
            remedy="train with `precision: float32` or a lower learning rate.",
        )
    return found


def pooled_states(
    classifier: Classifier,
    records: Sequence[TokenisedRecord],
    *,
    batch_tokens: int,
    frozen: FrozenStates | None = None,
) -> Float64[np.ndarray, "records hidden"]:
    """What the head reads of each record."""
    return _read_all(
        classifier,
        records,
        lambda reader, batch: reader.pooled(batch).double(),
        batch_tokens=batch_tokens,
        frozen=frozen,
    )


def _read_all(
    classifier: Classifier,
    records: Sequence[TokenisedRecord],
    read: "Callable[[Reader, list[np.ndarray]], torch.Tensor]",
    *,
    batch_tokens: int,
    frozen: FrozenStates | None,
) -> np.ndarray:
    """What `read` makes of each record, in their order, without gradients or dropout."""
    import torch

    found: dict[bytes, np.ndarray] = {}
    # records that were cut may have the same tokens: read twice, they would tie on some CPUs only
    apart = list({record.token_ids.tobytes(): record for record in records}.values())
    classifier.decoder.eval()
    with side_by_side(classifier.loaded) as workers, reading(classifier, frozen) as reader:

        def read_rows(rows: list[int]) -> np.ndarray:
            with torch.inference_mode():
                return read(reader, [apart[row].token_ids for row in rows]).cpu().numpy()

        plan = _plan(classifier, apart, batch_tokens)
        for rows, values in run_batches(plan, read_rows, workers=workers, out_of_memory=_give_up):
            found.update(zip((apart[row].token_ids.tobytes() for row in rows), values, strict=True))
    return np.stack([found[record.token_ids.tobytes()] for record in records])


def freeze_states(classifier: Classifier, records: Sequence[TokenisedRecord], *, batch_tokens: int) -> FrozenStates:
    """What the blocks below the trained ones make of records.

    Raises:
        UserError: this model's blocks cannot be skipped.
    """
    classifier.decoder.eval()
    layer = classifier.first_trained
    states: dict[bytes, torch.Tensor] = {}
    with ExitStack() as stack:
        workers = stack.enter_context(side_by_side(classifier.loaded))
        packing = stack.enter_context(packed(classifier.decoder)) if classifier.packs else None
        taps = stack.enter_context(tapped(classifier.decoder, [layer], "residual"))

        def read(rows: list[int]) -> "torch.Tensor":
            inputs = _inputs(classifier, [records[row].token_ids for row in rows], packing)
            with _arithmetic(classifier):
                return taps.forward(**inputs)[layer]

        plan = _plan(classifier, records, batch_tokens)
        for rows, found in run_batches(plan, read, workers=workers, out_of_memory=_give_up):
            batch = [records[row].token_ids for row in rows]
            for tokens, place in zip(batch, places(batch, packed=classifier.packs), strict=True):
                states[tokens.tobytes()] = found[place].clone()
    frozen = FrozenStates(states)
    _check_skipping(classifier, frozen, records[0].token_ids)
    return frozen


def _check_skipping(classifier: Classifier, frozen: FrozenStates, tokens: np.ndarray) -> None:
    """Compare a record's final states with and without the frozen blocks: some families' blocks return more."""
    import torch

    found = []
    with torch.inference_mode():
        for kept in (frozen, None):
            with reading(classifier, kept) as reader:
                found.append(reader.states([tokens])[0, : len(tokens)].float())
    skipped, whole = found
    if not float((skipped - whole).norm()) <= _TOLERANCES[classifier.precision] * float(whole.norm()):
        raise UserError(
            "the frozen blocks of this model cannot be skipped.",
            where=classifier.loaded.name,
            remedy="set `keep_states: false`.",
        )


def _plan(classifier: Classifier, records: Sequence[TokenisedRecord], budget: int) -> list[list[int]]:
    lengths = np.array([len(record.token_ids) for record in records], dtype=np.int64)
    return plan_batches(lengths, budget=budget, packing=classifier.packs)


def _inputs(classifier: Classifier, batch: Sequence[np.ndarray], packing: Packing | None) -> "dict[str, torch.Tensor]":
    device = classifier.decoder.get_input_embeddings().weight.device
    return padded_inputs(batch, device) if packing is None else packed_inputs(batch, packing, device)


def _arithmetic(classifier: Classifier) -> AbstractContextManager[object]:
    import torch

    if classifier.precision != "mixed":
        return nullcontext()
    return torch.autocast(classifier.head.weight.device.type, torch.bfloat16)


def _give_up(rows: list[int], error: Exception) -> None:
    """A batch that memory does not hold is halved; one record cannot be."""
    if len(rows) == 1:
        raise error
