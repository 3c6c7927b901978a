"""Log-likelihoods of the two replies to each prompt, from one forward pass over what they share.

Prompts share a row of a pass: their common beginning once, then each prompt with its two replies as branches.
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int64

from models_under_pressure.activations.batches import batch_budget, plan_batches, run_batches, side_by_side
from models_under_pressure.activations.blocks import decoder_of
from models_under_pressure.activations.config import LoadedModel
from models_under_pressure.activations.packing import Branch, Packing, can_pack, packed
from models_under_pressure.baselines.prompted.questions import Prompt
from models_under_pressure.core.errors import UserError

if TYPE_CHECKING:
    import torch

_TOLERANCES = {"float32": 1e-3, "bfloat16": 0.5}
"""Greatest difference of log-likelihoods that rounding explains, in nats."""
_FEWEST_PLACES = 16
"""Matrix products of fewer rows than this use other kernels, whose last bits differ."""
_VOCABULARY_PART = 16_384
"""Rows of the head that are widened to float32 at a time."""
_WHOLE = 16
"""Rows are filled up to a multiple of this: the last, incomplete vector of a product or function is computed by other
instructions, so that the last token's bits would depend on the row's length."""


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
        same = equal_prompts(prompts)
        for place, one in self._read_apart([prompts[indices[0]] for indices in same], budget):
            for index in same[place]:
                yield index, one

    def _read_apart(self, prompts: Sequence[Prompt], budget: int | None) -> Iterator[tuple[int, Likelihoods]]:
        if not prompts:
            return
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


@dataclass(frozen=True, eq=False)
class Reading:
    """Places at which the predictions of a reply are read, and the tokens that they should name."""

    places: Int64[np.ndarray, "tokens"]
    """Place in the row of the token before each token of the reply."""
    tokens: Int64[np.ndarray, "tokens"]


@dataclass(frozen=True, eq=False)
class Row:
    """One forward pass."""

    token_ids: Int64[np.ndarray, "tokens"]
    positions: Int64[np.ndarray, "tokens"]
    branches: tuple[Branch, ...]
    readings: tuple[tuple[Reading, Reading], ...]
    """(high, low) of each prompt."""


def equal_prompts(prompts: Sequence[Prompt]) -> list[list[int]]:
    """Indices of the prompts of the same tokens, which two conversations that were cut may have: each is read once.

    Read twice, they would tie on some CPUs and on others differ in their last bits, by their place in a row.
    """
    found: dict[tuple[bytes, ...], list[int]] = {}
    for index, prompt in enumerate(prompts):
        key = tuple(np.asarray(part).tobytes() for part in (prompt.shared, prompt.high, prompt.low))
        found.setdefault(key, []).append(index)
    return list(found.values())


def common_prefix(prompts: Sequence[Prompt]) -> int:
    """Tokens that all prompts begin with; at least one token of each is left out of it."""
    shortest = min(len(prompt.shared) for prompt in prompts) - 1
    first = prompts[0].shared[:shortest]
    same = np.ones(shortest, dtype=bool)
    for prompt in prompts[1:]:
        same &= prompt.shared[:shortest] == first
    return shortest if same.all() else int(np.argmin(same))


def plan_rows(prompts: Sequence[Prompt], root: int, budget: int) -> list[list[int]]:
    """Indices of the prompts of each row: rows hold at most `budget` tokens, or one prompt."""
    lengths = np.array([prompt.tokens - root for prompt in prompts], dtype=np.int64)
    return plan_batches(lengths, budget=max(1, budget - root), packing=True)


def make_row(prompts: Sequence[Prompt], root: int) -> Row:
    """Lay prompts out in one row: their common beginning, each prompt with its high reply, its low one; a filler."""
    token_ids = [prompts[0].shared[:root]]
    branches = [Branch(0, root)] if root else []
    readings: list[tuple[Reading, Reading]] = []
    beginning = ((0, root),) if root else ()
    end = root
    for prompt in prompts:
        question, high, low = prompt.shared[root:], prompt.high[:-1], prompt.low[:-1]
        own = Branch(end, end + len(question) + len(high), beginning)
        asked = own.start + len(question)
        other = Branch(own.stop, own.stop + len(low), (*beginning, (own.start, asked)))
        token_ids += [question, high, low]
        branches += [own, other] if len(low) else [own]
        readings.append((_reading(asked - 1, asked, prompt.high), _reading(asked - 1, other.start, prompt.low)))
        end = other.stop
    filler = -end % _WHOLE
    token_ids.append(np.zeros(filler, dtype=np.int64))
    branches += [Branch(end, end + filler)] if filler else []
    positions = [np.arange(branch.stop - branch.start) + branch.position for branch in branches]
    return Row(np.concatenate(token_ids).astype(np.int64), np.concatenate(positions), tuple(branches), tuple(readings))


def _reading(last_shared: int, start: int, reply: np.ndarray) -> Reading:
    """The first token of a reply is predicted by the last shared one, each other by the one before it."""
    places = np.concatenate([[last_shared], np.arange(start, start + len(reply) - 1)])
    return Reading(places.astype(np.int64), reply.astype(np.int64))


def read_twice(model: LoadedModel, prompt: Prompt) -> Likelihoods:
    """The likelihoods from two passes, each over the whole prompt with one reply: the method without any sharing."""
    found: list[float] = []
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
            input_ids=torch.as_tensor(token_ids[None].astype(np.int64)).to(device),
            position_ids=torch.as_tensor(positions[None]).to(device),
            use_cache=False,
            logits_to_keep=torch.as_tensor(places).to(device),
        ).logits[0]
        normalised = torch.log_softmax(logits, dim=-1)
        targets = torch.as_tensor(np.concatenate([reading.tokens for reading in readings])).to(logits.device)
        values = normalised[torch.as_tensor(inverse).to(logits.device), targets].double().cpu().numpy()
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
def _precise_head(model: Any) -> Generator[None]:
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
        problem, remedy = "the likelihood of a reply is not finite.", "use `dtype: float32` or `bfloat16`."
        raise UserError(problem, where=f"record {prompt.id!r}", remedy=remedy)


def _refuse_one(prompts: Sequence[Prompt], error: Exception) -> None:
    """Give up on a row of one prompt that memory does not hold."""
    if len(prompts) == 1:
        problem = f"memory does not hold a forward pass over these {prompts[0].tokens} tokens alone."
        remedy = "lower `prompt_baseline.max_tokens`, or quantise the model."
        raise UserError(problem, where=f"record {prompts[0].id!r}", remedy=remedy) from error
