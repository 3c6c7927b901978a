"""Which prompts share a row of one forward pass, and where in the row each prediction is read."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from models_under_pressure.activations.batches import Branch, plan_batches
from models_under_pressure.baselines.prompted.questions import Prompt

_WHOLE = 16
"""Rows are filled up to a multiple of this: the last, incomplete vector of a product or function is computed by other
instructions, so that the last token's bits would depend on the row's length."""


@dataclass(frozen=True, eq=False)
class Reading:
    """Where the predictions of a reply are read, and what they should say."""

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
    readings = []
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
