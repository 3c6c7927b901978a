"""Log-likelihoods of the two replies to each prompt, from one forward pass over what they share."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from models_under_pressure.activations.batches import (
    Packing,
    batch_budget,
    can_pack,
    packed,
    run_batches,
    side_by_side,
)
from models_under_pressure.activations.blocks import decoder_of
from models_under_pressure.activations.model import LoadedModel
from models_under_pressure.baselines.prompted.questions import Prompt
from models_under_pressure.baselines.prompted.rows import Reading, common_prefix, equal_prompts, make_row, plan_rows
from models_under_pressure.core.errors import UserError

if TYPE_CHECKING:
    import torch


_TOLERANCES = {"float32": 1e-3, "bfloat16": 0.5}
"""Greatest difference of log-likelihoods that rounding explains, in nats."""
_FEWEST_PLACES = 16
"""Matrix products of fewer rows than this use other kernels, whose last bits differ."""
_VOCABULARY_PART = 16_384
"""Rows of the head that are widened to float32 at a time."""


@dataclass(frozen=True, slots=True)
class Likelihoods:
    """Log-likelihood of each reply, from the first token in which they differ to the end of the turn; in nats."""

    high: float
    low: float


class PromptReader:
    """A language model with its head, which reads prompts."""

    def __init__(self, model: LoadedModel) -> None:
        self.model = model
        self._branches: bool | None = None

    def likelihoods(self, prompts: Sequence[Prompt], *, budget: int | None = None) -> Iterator[tuple[int, Likelihoods]]:
        """Yield (index, likelihoods) of every prompt, in any order.

        Equal prompts are read once, so that they tie. On a CPU each core reads rows of its own. In float32 numbers do
        not depend on what shares a row or on the number of cores, but for last bits on CPUs without AVX-512; in
        bfloat16 they do, within the rounding of its products. A model whose attention cannot be divided into branches
        reads each prompt twice, once with each reply.

        Args:
            prompts: the prompts, of one wording.
            budget: tokens of one forward pass; None suits the device. Halved when memory does not hold it.

        Raises:
            UserError: memory does not hold one prompt, or a likelihood is not finite.
        """
        if not prompts:
            return
        same = equal_prompts(prompts)
        for place, one in self._read_apart([prompts[indices[0]] for indices in same], budget):
            for index in same[place]:
                yield index, one

    def _read_apart(self, prompts: Sequence[Prompt], budget: int | None) -> Iterator[tuple[int, Likelihoods]]:
        with ExitStack() as stack:
            workers = stack.enter_context(side_by_side(self.model))
            stack.enter_context(_precise_head(self.model.model))
            if self._can_branch(prompts):
                root = common_prefix(prompts)
                attention = stack.enter_context(packed(decoder_of(self.model.model)))
                rows = plan_rows(prompts, root, budget or batch_budget(self.model.device))
                read = partial(_read, self.model, attention, root)
            else:
                rows = [[index] for index in range(len(prompts))]
                read = partial(_read_each_twice, self.model)
            for batch, found in run_batches(
                rows,
                lambda batch: read([prompts[index] for index in batch]),
                workers=workers,
                out_of_memory=lambda batch, error: _refuse_one([prompts[index] for index in batch], error),
            ):
                for index, one in zip(batch, found, strict=True):
                    _check_finite(prompts[index], one)
                    yield index, one

    def _can_branch(self, prompts: Sequence[Prompt]) -> bool:
        """Whether branches give the numbers of two whole passes; tried once, on the two shortest of some prompts."""
        if self._branches is None:
            tried = sorted(prompts, key=lambda prompt: prompt.tokens)[:2]
            self._branches = can_pack(decoder_of(self.model.model)) and _agree(self.model, tried)
        return self._branches


def read_twice(model: LoadedModel, prompt: Prompt) -> Likelihoods:
    """The likelihoods from two passes, each over the whole prompt with one reply: the method without any sharing."""
    found = []
    for reply in (prompt.high, prompt.low):
        tokens = np.concatenate([prompt.shared, reply[:-1]])
        places = np.arange(len(prompt.shared) - 1, len(tokens))
        reading = Reading(places, reply.astype(np.int64))
        found += _predict(model.model, tokens, np.arange(len(tokens)), [reading])
    return Likelihoods(*found)


def _read_each_twice(model: LoadedModel, prompts: Sequence[Prompt]) -> list[Likelihoods]:
    return [read_twice(model, prompt) for prompt in prompts]


def _read(model: LoadedModel, attention: Packing, root: int, prompts: Sequence[Prompt]) -> list[Likelihoods]:
    row = make_row(prompts, root)
    attention.branches = row.branches
    readings = [reading for pair in row.readings for reading in pair]
    values = _predict(model.model, row.token_ids, row.positions, readings)
    return [Likelihoods(*pair) for pair in zip(values[::2], values[1::2], strict=True)]


def _predict(model: Any, token_ids: np.ndarray, positions: np.ndarray, readings: Sequence[Reading]) -> list[float]:
    """Log-likelihood of each reading's tokens."""
    import torch

    places, inverse = np.unique(np.concatenate([reading.places for reading in readings]), return_inverse=True)
    places = np.pad(places, (0, max(0, _FEWEST_PLACES - len(places))), mode="edge")
    device = model.get_input_embeddings().weight.device
    with torch.inference_mode():
        logits = model(
            input_ids=torch.from_numpy(token_ids[None].astype(np.int64)).to(device),
            position_ids=torch.from_numpy(positions[None]).to(device),
            use_cache=False,
            logits_to_keep=torch.from_numpy(places).to(device),
        ).logits[0]
        normalised = torch.log_softmax(logits, dim=-1)
        targets = torch.from_numpy(np.concatenate([reading.tokens for reading in readings])).to(logits.device)
        values = normalised[torch.from_numpy(inverse).to(logits.device), targets].double().cpu().numpy()
    ends = np.cumsum([len(reading.tokens) for reading in readings])
    return [float(part.sum()) for part in np.split(values, ends[:-1])]


def _agree(model: LoadedModel, prompts: Sequence[Prompt]) -> bool:
    """Whether a row of branches gives these prompts the likelihoods of whole passes."""
    with packed(decoder_of(model.model)) as attention:
        together = _read(model, attention, common_prefix(prompts), prompts)
    apart = _read_each_twice(model, prompts)
    tolerance = _TOLERANCES.get(model.dtype, 0.5) if model.config.quantization == "none" else 1.0
    return all(
        abs(one.high - other.high) < tolerance and abs(one.low - other.low) < tolerance
        for one, other in zip(together, apart, strict=True)
    )


@contextmanager
def _precise_head(model: Any) -> Iterator[None]:
    """Let the head compute in float32: bfloat16 logits near 20 are 0.125 apart, so that many scores would be ties."""
    handle = model.get_output_embeddings().register_forward_hook(_in_float32)
    try:
        yield
    finally:
        handle.remove()


def _in_float32(module: Any, args: "tuple[torch.Tensor, ...]", output: "torch.Tensor") -> "torch.Tensor":
    import torch

    wide = torch.promote_types(output.dtype, torch.float32)
    if not module.weight.is_floating_point() or output.dtype == wide:  # a quantised head has no plain weights
        return output.to(wide)
    states = args[0].to(wide)
    parts = [torch.nn.functional.linear(states, part.to(wide)) for part in module.weight.split(_VOCABULARY_PART)]
    logits = torch.cat(parts, dim=-1)
    return logits if module.bias is None else logits + module.bias.to(wide)


def _check_finite(prompt: Prompt, found: Likelihoods) -> None:
    if not np.isfinite([found.high, found.low]).all():
        raise UserError(
            "the likelihood of a reply is not finite.",
            where=f"record {prompt.id!r}",
            remedy="use `dtype: float32` or `bfloat16`.",
        )


def _refuse_one(prompts: Sequence[Prompt], error: Exception) -> None:
    """Give up on a row of one prompt that memory does not hold."""
    if len(prompts) == 1:
        raise UserError(
            f"memory does not hold a forward pass over these {prompts[0].tokens} tokens alone.",
            where=f"record {prompts[0].id!r}",
            remedy="lower `prompt_baseline.max_tokens`, or quantise the model.",
        ) from error
