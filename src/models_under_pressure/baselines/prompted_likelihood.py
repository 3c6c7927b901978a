"""Log-likelihoods of the two replies to each prompt, from one forward pass over what they share."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from models_under_pressure.activations.blocks import decoder_of
from models_under_pressure.activations.hardware import is_out_of_memory
from models_under_pressure.activations.model import LoadedModel
from models_under_pressure.activations.packing import can_pack
from models_under_pressure.baselines.prompted_attention import branching
from models_under_pressure.baselines.prompted_prompts import Prompt
from models_under_pressure.baselines.prompted_rows import Reading, common_prefix, make_row, plan_rows
from models_under_pressure.errors import UserError

if TYPE_CHECKING:
    import torch

_TOLERANCES = {"float32": 1e-3, "bfloat16": 0.5}
"""Greatest difference of log-likelihoods that rounding explains, in nats."""
_VOCABULARY_PART = 16_384
"""Rows of the head that are widened to float32 at a time."""


@dataclass(frozen=True, slots=True)
class Likelihoods:
    """Log-likelihood of each reply, from the first token in which they differ to the end of the turn; in nats."""

    high: float
    low: float


def likelihoods(model: LoadedModel, prompts: Sequence[Prompt], *, budget: int) -> Iterator[tuple[int, Likelihoods]]:
    """Yield (index, likelihoods) of every prompt, in any order; numbers do not depend on what shares a pass.

    A model whose attention cannot be divided into branches reads each prompt twice, once with each reply.

    Args:
        model: a language model with its head.
        prompts: the prompts.
        budget: tokens of one forward pass; halved when memory does not hold it.

    Raises:
        UserError: memory does not hold one prompt, or a likelihood is not finite.
    """
    with _precise_head(model.model):
        if _can_branch(model, prompts):
            root = common_prefix(prompts)
            pending = plan_rows(prompts, root, budget)[::-1]
        else:
            root, pending = None, [[index] for index in range(len(prompts))]
        while pending:
            batch = pending.pop()
            chosen = [prompts[index] for index in batch]
            try:
                found = [read_twice(model, prompt) for prompt in chosen] if root is None else _read(model, chosen, root)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if len(batch) == 1:
                    raise _too_large(chosen[0]) from error
                middle = len(batch) // 2
                pending += [batch[middle:], batch[:middle]]
                continue
            for index, one in zip(batch, found, strict=True):
                if not np.isfinite([one.high, one.low]).all():
                    raise UserError(
                        "the likelihood of a reply is not finite.",
                        where=f"record {prompts[index].id!r}",
                        remedy="use `dtype: float32` or `bfloat16`.",
                    )
                yield index, one


def read_twice(model: LoadedModel, prompt: Prompt) -> Likelihoods:
    """The likelihoods from two passes, each over the whole prompt with one reply: the method without any sharing."""
    found = []
    for reply in (prompt.high, prompt.low):
        tokens = np.concatenate([prompt.shared, reply[:-1]])
        places = np.arange(len(prompt.shared) - 1, len(tokens))
        reading = Reading(places, reply.astype(np.int64))
        found += _predict(model.model, tokens, np.arange(len(tokens)), [reading])
    return Likelihoods(*found)


def _read(model: LoadedModel, prompts: Sequence[Prompt], root: int) -> list[Likelihoods]:
    row = make_row(prompts, root)
    with branching(decoder_of(model.model)) as attention:
        attention.branches = list(row.branches)
        readings = [reading for pair in row.readings for reading in pair]
        values = _predict(model.model, row.token_ids, row.positions, readings)
    return [Likelihoods(*pair) for pair in zip(values[::2], values[1::2], strict=True)]


def _predict(model: Any, token_ids: np.ndarray, positions: np.ndarray, readings: Sequence[Reading]) -> list[float]:
    """Log-likelihood of each reading's tokens."""
    import torch

    places, inverse = np.unique(np.concatenate([reading.places for reading in readings]), return_inverse=True)
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


def _can_branch(model: LoadedModel, prompts: Sequence[Prompt]) -> bool:
    """Whether branches give the numbers of two whole passes, tried on the two shortest prompts."""
    if not can_pack(decoder_of(model.model)):
        return False
    tried = sorted(prompts, key=lambda prompt: prompt.tokens)[:2]
    together = _read(model, tried, common_prefix(tried))
    apart = [read_twice(model, prompt) for prompt in tried]
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


def _too_large(prompt: Prompt) -> UserError:
    return UserError(
        f"memory does not hold a forward pass over these {prompt.tokens} tokens alone.",
        where=f"record {prompt.id!r}",
        remedy="lower `prompt_baseline.max_tokens`, or quantise the model.",
    )
