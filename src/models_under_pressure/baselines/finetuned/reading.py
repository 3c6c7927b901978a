"""Conversations through a classifier: tokens in packed or padded batches in, two logits per record out."""

import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64

from models_under_pressure.activations.batches import padded_inputs, plan_batches, run_batches, side_by_side
from models_under_pressure.activations.blocks import relative_difference, tapped
from models_under_pressure.activations.config import ModelDescription
from models_under_pressure.activations.packing import Packing, one_after_the_other, packed, packed_inputs
from models_under_pressure.activations.tokens import TokenisationReport, TokenisedRecord, tokenise
from models_under_pressure.baselines.data import LabelledRecords
from models_under_pressure.baselines.finetuned.classifier import Classifier, FrozenStates, places
from models_under_pressure.baselines.finetuned.config import FinetuneConfig
from models_under_pressure.core.errors import UserError

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

_TOLERANCES = {"float32": 1e-4, "mixed": 0.05, "bfloat16": 0.05}
"""Greatest relative difference of hidden states that rounding explains."""


@dataclass(frozen=True, eq=False)
class Split:
    """Tokenised records with their labels."""

    records: tuple[TokenisedRecord, ...]
    labels: Bool[np.ndarray, "records"]
    report: TokenisationReport
    """Changes to the records so that the model can read them."""

    @property
    def lengths(self) -> Int64[np.ndarray, "records"]:
        """Tokens of each record."""
        return np.array([len(record.token_ids) for record in self.records], dtype=np.int64)


def tokenised_split(data: LabelledRecords, model: ModelDescription, config: FinetuneConfig) -> Split:
    """Render conversations through the model's chat template, and cut long ones with a warning.

    Raises:
        UserError: the template refuses a record.
    """
    limit, side = config.max_tokens, config.truncation_side
    tokenised, report = tokenise(data.records, model.tokenizer, name=model.name, max_tokens=limit, truncation_side=side)
    if report.truncated:
        message = "%s: %d of %d records cut to %d tokens"
        logging.getLogger(__name__).warning(message, data.name, len(report.truncated), len(tokenised), limit)
    return Split(tuple(tokenised), data.labels, report)


class Reader:
    """Reads batches of records, given as token ids, with a classifier."""

    def __init__(self, classifier: Classifier, packing: Packing | None) -> None:
        self._classifier, self._packing = classifier, packing

    def logits(self, batch: Sequence[np.ndarray]) -> "Float[torch.Tensor, 'records 2']":
        """Logits of the negative and the positive class, on the head's device.

        Raises:
            UserError: memory does not hold the batch.
        """
        head = self._classifier.head
        # a product and a sum: the kernels of a matrix product depend on the number of records
        return (self.pooled(batch)[:, None] * head.weight).sum(dim=-1) + head.bias

    def pooled(self, batch: Sequence[np.ndarray]) -> "Float[torch.Tensor, 'records hidden']":
        """Input of the head, in float32.

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

    def states(self, batch: Sequence[np.ndarray]) -> "Float[torch.Tensor, 'rows width hidden']":
        """Final hidden states."""
        inputs = self.inputs(batch)
        if frozen := self._classifier.frozen:
            frozen.lay_out(batch, inputs["input_ids"], packed=self._packing is not None)
        with self.arithmetic():
            return self._classifier.decoder(**inputs, use_cache=False).last_hidden_state

    def inputs(self, batch: Sequence[np.ndarray]) -> "dict[str, torch.Tensor]":
        """Arguments of the decoder."""
        device = self._classifier.decoder.get_input_embeddings().weight.device
        if self._packing is None:
            return padded_inputs(batch, device)
        return packed_inputs(batch, one_after_the_other([*map(len, batch)]), self._packing, device)

    @contextmanager
    def arithmetic(self) -> Generator[None]:
        """Let the decoder compute in the classifier's precision."""
        import torch

        mixed, device = self._classifier.precision == "mixed", self._classifier.head.weight.device.type
        with torch.autocast(device, torch.bfloat16) if mixed else nullcontext():
            yield


@contextmanager
def reading(classifier: Classifier) -> Generator[Reader]:
    """Prepare a classifier's attention for the batches to come."""
    with ExitStack() as stack:
        packing = stack.enter_context(packed(classifier.decoder)) if classifier.packs else None
        if classifier.frozen:
            stack.enter_context(classifier.frozen.skipping(classifier.decoder, classifier.first_trained))
        yield Reader(classifier, packing)


def score(
    classifier: Classifier, records: Sequence[TokenisedRecord], *, batch_tokens: int
) -> Float64[np.ndarray, "records"]:
    """Log-odds of the positive class of each record; on a CPU each core reads batches of its own.

    Raises:
        UserError: naming a record whose score is not finite.
    """

    def log_odds(reader: Reader, batch: list[np.ndarray]) -> "torch.Tensor":
        logits = reader.logits(batch).double()
        return logits[:, 1] - logits[:, 0]

    found = _read_all(classifier, records, log_odds, batch_tokens)
    for record, logit in zip(records, found, strict=True):
        if not np.isfinite(logit):
            remedy = "train with `precision: float32` or a lower learning rate."
            raise UserError("the score is not finite.", where=f"record {record.id!r}", remedy=remedy)
    return found


def pooled_states(
    classifier: Classifier, records: Sequence[TokenisedRecord], *, batch_tokens: int
) -> Float64[np.ndarray, "records hidden"]:
    """Input of the head for each record."""
    return _read_all(classifier, records, lambda reader, batch: reader.pooled(batch).double(), batch_tokens)


def freeze_states(classifier: Classifier, records: Sequence[TokenisedRecord], *, batch_tokens: int) -> FrozenStates:
    """Output of the blocks below the trained ones for each record.

    Raises:
        UserError: this model's blocks cannot be skipped.
    """
    layer = classifier.first_trained
    states: dict[bytes, torch.Tensor] = {}
    with reading(classifier) as reader, tapped(classifier.decoder, [layer], "residual") as taps:

        def read(batch: list[np.ndarray]) -> "torch.Tensor":
            with reader.arithmetic():
                arguments: dict[str, Any] = reader.inputs(batch)
                return taps.forward(**arguments)[layer]

        for batch, found in _batches(classifier, records, read, batch_tokens):
            for tokens, place in zip(batch, places(batch, packed=classifier.packs), strict=True):
                states[tokens.tobytes()] = found[place].clone()
    frozen = FrozenStates(states)
    _check_skipping(replace(classifier, frozen=frozen), records[0].token_ids)
    return frozen


def _check_skipping(classifier: Classifier, tokens: np.ndarray) -> None:
    """Compare a record's final states with and without the frozen blocks: some families' blocks return more."""
    import torch

    found: list[torch.Tensor] = []
    with torch.inference_mode():
        for one in (classifier, replace(classifier, frozen=None)):
            with reading(one) as reader:
                found.append(reader.states([tokens])[0, : len(tokens)].float())
    skipped, whole = found
    if not relative_difference(skipped, whole) <= _TOLERANCES[classifier.precision]:
        problem, remedy = "the frozen blocks of this model cannot be skipped.", "set `keep_states: false`."
        raise UserError(problem, where=classifier.loaded.name, remedy=remedy)


def _read_all(
    classifier: Classifier,
    records: Sequence[TokenisedRecord],
    read: "Callable[[Reader, list[np.ndarray]], torch.Tensor]",
    batch_tokens: int,
) -> np.ndarray:
    """What `read` makes of each record, in their order, without gradients or dropout."""
    import torch

    found: dict[bytes, np.ndarray] = {}
    with reading(classifier) as reader:

        def values_of(batch: list[np.ndarray]) -> np.ndarray:
            with torch.inference_mode():
                return read(reader, batch).cpu().numpy()

        for batch, values in _batches(classifier, records, values_of, batch_tokens):
            found.update(zip((tokens.tobytes() for tokens in batch), values, strict=True))
    return np.stack([found[record.token_ids.tobytes()] for record in records])


def _batches(
    classifier: Classifier, records: Sequence[TokenisedRecord], read: Callable[[list[np.ndarray]], T], budget: int
) -> Iterator[tuple[list[np.ndarray], T]]:
    """Batches of token ids, each with what `read` makes of it.

    Records that were cut may have the same tokens: read twice, they would tie on some CPUs only.
    """
    apart = list({record.token_ids.tobytes(): record.token_ids for record in records}.values())
    lengths = np.array([len(tokens) for tokens in apart], dtype=np.int64)
    plan = plan_batches(lengths, budget=budget, packing=classifier.packs)
    classifier.decoder.eval()
    with side_by_side(classifier.loaded) as workers:
        for rows, found in run_batches(
            plan, lambda rows: read([apart[row] for row in rows]), workers=workers, out_of_memory=_give_up
        ):
            yield [apart[row] for row in rows], found


def _give_up(rows: list[int], error: Exception) -> None:
    """A batch that memory does not hold is halved; one record cannot be."""
    if len(rows) == 1:
        raise error
