"""Forward passes over batches of records, down to the numbers that are kept."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32, UInt16

from models_under_pressure.activations.batches import (
    batch_budget,
    padded_inputs,
    plan_batches,
    run_batches,
    side_by_side,
)
from models_under_pressure.activations.blocks import Taps, check_causal, packs_exactly, tapped
from models_under_pressure.activations.config import ExtractConfig, LoadedModel
from models_under_pressure.activations.packing import (
    Packing,
    can_pack,
    packed,
    packed_inputs,
    plan_shared_rows,
    rotates_by_length,
    sharing_beginnings,
)
from models_under_pressure.activations.tokens import TokenisedRecord
from models_under_pressure.core.errors import UserError

if TYPE_CHECKING:
    import torch

Kept = UInt16[np.ndarray, "rows hidden"] | Float32[np.ndarray, "rows hidden"]
"""bfloat16 bits of tokens, or float32 of tokens or pooled vectors."""


class Forward:
    """A model tapped at some layers, with a token budget that shrinks when memory runs out."""

    def __init__(
        self,
        model: LoadedModel,
        taps: Taps,
        packing: Packing | None,
        layers: Sequence[int],
        *,
        config: ExtractConfig,
        budget: int,
        workers: int,
    ) -> None:
        self._model, self._taps, self._packing, self._layers = model, taps, packing, tuple(layers)
        self._config, self._workers, self.budget = config, workers, budget

    @property
    def packs(self) -> bool:
        """Whether records share a row without padding."""
        return self._packing is not None

    def run(self, records: Mapping[int, TokenisedRecord]) -> Iterator[tuple[int, dict[int, Kept]]]:
        """Yield (index, values of each layer) of every record, in any order.

        Raises:
            UserError: a value is not finite, or memory does not hold even one record.
        """
        indices = list(records)
        if not indices:
            return
        texts = [record.token_ids for record in records.values()]
        if self.packs:
            batches = plan_shared_rows(texts, budget=self.budget)
        else:
            lengths = np.array([*map(len, texts)], dtype=np.int64)
            batches = plan_batches(lengths, budget=self.budget, packing=False)
        for batch, finished in run_batches(
            [[indices[place] for place in batch] for batch in batches],
            lambda batch: self._run_batch([records[index] for index in batch]),
            workers=self._workers,
            out_of_memory=lambda batch, error: self._shrink([records[index].id for index in batch], error),
        ):
            yield from zip(batch, finished, strict=True)

    def _run_batch(self, batch: Sequence[TokenisedRecord]) -> list[dict[int, Kept]]:
        import torch

        tokens = [record.token_ids for record in batch]
        lengths = [len(ids) for ids in tokens]
        device = self._model.model.get_input_embeddings().weight.device
        if self._packing:
            branches = sharing_beginnings(tokens)
            inputs: dict[str, Any] = packed_inputs(tokens, branches, self._packing, device)
            places = [branch.places for branch in branches]
        else:
            inputs = padded_inputs(tokens, device)
            width: int = inputs["input_ids"].shape[1]
            places = [np.arange(row * width, row * width + length) for row, length in enumerate(lengths)]
        states = self._taps.forward(**inputs)
        results: list[dict[int, Kept]] = [{} for _ in batch]
        for layer in self._layers:
            values = states.pop(layer).flatten(0, -2)
            values = values[torch.as_tensor(np.concatenate(places)).to(values.device)]
            _check(values, batch, layer)
            for result, kept in zip(results, _kept(values, lengths, self._config), strict=True):
                result[layer] = kept
        return results

    def _shrink(self, names: Sequence[str], error: Exception) -> None:
        import torch

        if len(names) == 1:
            raise UserError(
                "memory does not hold the forward pass of this record alone.",
                where=f"record {names[0]!r}",
                remedy="lower `extract.max_tokens`, or quantise the model (`model.quantization`).",
            ) from error
        self.budget = max(1, self.budget // 2)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


@contextmanager
def prepared(model: LoadedModel, layers: Sequence[int], config: ExtractConfig) -> Generator[Forward]:
    """Tap a model and choose how its batches are made.

    Raises:
        UserError: the model is not causal.
    """
    with ExitStack() as stack:
        workers = stack.enter_context(side_by_side(model))
        budget = batch_budget(model.device) if config.batch_tokens == "auto" else config.batch_tokens
        if rotates_by_length(model.model):
            budget = 1  # each record alone
        taps = stack.enter_context(tapped(model.model, layers, config.hook_point))
        check_causal(model, taps)
        packs = config.packing == "auto" and model.device == "cpu" and can_pack(model.model)
        packing = stack.enter_context(packed(model.model)) if packs and packs_exactly(model, taps) else None
        yield Forward(model, taps, packing, layers, config=config, budget=budget, workers=workers)


def _check(values: "torch.Tensor", batch: Sequence[TokenisedRecord], layer: int) -> None:
    """Refuse tokens that are not finite, or all zero, as a broken placement of layers leaves them."""
    import torch

    largest = values.abs().amax(dim=-1)
    bad = ~torch.isfinite(largest) | (largest == 0)
    if bool(bad.any()):
        token = int(bad.nonzero()[0])
        ends = np.cumsum([len(record.token_ids) for record in batch])
        place = int(np.searchsorted(ends, token, side="right"))
        token -= int(ends[place - 1]) if place else 0
        raise UserError(
            f"activations at layer {layer} are not finite, or all zero, at token {token}.",
            where=f"record {batch[place].id!r}",
            remedy="use `model.dtype: float32` or `bfloat16`, and check that the model is loaded whole.",
        )


def _kept(values: "torch.Tensor", lengths: Sequence[int], config: ExtractConfig) -> list[Kept]:
    """The stored numbers of each record.

    Tokens are rounded to bfloat16, which keeps float32's range, or stay float32, as a mean or last vector does.
    """
    import torch

    if config.keep == "tokens":
        if config.stored == "float32":
            return np.split(values.float().cpu().numpy(), np.cumsum(lengths)[:-1])
        bits = values.to(torch.bfloat16).contiguous().view(torch.uint16).cpu().numpy()
        return np.split(bits, np.cumsum(lengths)[:-1])
    parts = torch.split_with_sizes(values, list(lengths))
    pooled = torch.stack([part[-1].float() if config.keep == "last" else part.float().mean(dim=0) for part in parts])
    return list(pooled.cpu().numpy()[:, None])
