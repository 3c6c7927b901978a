"""Texts that share a row of tokens, and what they begin with, and attend to themselves only."""

import inspect
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int64

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Branch:
    """Consecutive tokens of a row that attend to themselves and to other tokens of the row, which come before them."""

    start: int
    stop: int
    before: tuple[tuple[int, int], ...] = ()
    """(start, stop) of the parts that come before it, in order."""
    attends_whole: bool = False
    """Whether the parts before it attend with it once more: costs more, and gives the bits of the text alone."""

    @property
    def position(self) -> int:
        """Place of its first token in its own text."""
        return sum(stop - start for start, stop in self.before)

    @property
    def parts(self) -> tuple[tuple[int, int], ...]:
        """(start, stop) of all that make up its text, in order."""
        return (*self.before, (self.start, self.stop))

    @property
    def places(self) -> "Int64[np.ndarray, 'tokens']":
        """Place in the row of each token of its text."""
        return np.concatenate([np.arange(*part) for part in self.parts])


class Packing(threading.local):
    """The branches of a thread's present row: records that share it, or a text and its continuations."""

    branches: Sequence[Branch] = ()

    def attend(
        self,
        module: Any,
        query: "torch.Tensor",
        key: "torch.Tensor",
        value: "torch.Tensor",
        attention_mask: "torch.Tensor | None",
        **settings: Any,
    ) -> "tuple[torch.Tensor, None]":
        """Hugging Face's own attention, once per branch: exact by construction, and no mask of tokens x tokens.

        Query, key and value are [1, heads, tokens, head size]; transformers builds no mask for an attention that it
        does not know, and gives the module's settings (scaling, sliding window) as keywords.
        """
        import torch

        attend = import_module("transformers.integrations.sdpa_attention").sdpa_attention_forward
        outputs: list[torch.Tensor] = []
        for branch in self.branches:
            text, own, seen = branch.parts, branch.parts[-1:], 0 if branch.attends_whole else branch.position
            queries = _joined(query, text if branch.attends_whole else own)
            mask = causal_mask(queries.shape[2], settings.get("sliding_window"), query.device, first=seen)
            output, _ = attend(module, queries, _joined(key, text), _joined(value, text), mask, **settings)
            outputs.append(output[:, branch.position - seen :])
        return torch.cat(outputs, dim=1), None


def _joined(states: "torch.Tensor", parts: Sequence[tuple[int, int]]) -> "torch.Tensor":
    import torch

    found = [states[:, :, start:stop] for start, stop in parts]
    return found[0] if len(found) == 1 else torch.cat(found, dim=2)


@contextmanager
def packed(decoder: Any) -> Generator[Packing]:
    """Let the decoder attend within the branches of a row; see `can_pack`."""
    packing = Packing()
    config = decoder.config.get_text_config()
    before = config._attn_implementation
    import_module("transformers").AttentionInterface.register("mup_packed", packing.attend)
    config._attn_implementation = "mup_packed"
    try:
        yield packing
    finally:
        config._attn_implementation = before


def one_after_the_other(lengths: Sequence[int]) -> list[Branch]:
    """Branches of records that fill a row."""
    ends = np.cumsum(lengths).tolist()
    return [Branch(end - length, end) for end, length in zip(ends, lengths, strict=True)]


_LEAST_SHARED = 8
"""Tokens: a shorter beginning is not worth the copies that join it to its continuations (reckoned, not measured)."""


def plan_shared_rows(texts: Sequence[np.ndarray], *, budget: int) -> list[list[int]]:
    """Indices of the texts of each packed row, neighbours in the alphabet, which share the longest beginnings.

    A row holds at most `budget` tokens, what it shares counted once, or one text.
    """
    rows: list[list[int]] = []
    used = budget
    for index, shared in _alphabetical(texts):
        if used + len(texts[index]) - shared > budget:
            rows.append([])
            used, shared = 0, 0
        rows[-1].append(index)
        used += len(texts[index]) - shared
    return rows


def sharing_beginnings(texts: Sequence[np.ndarray]) -> list[Branch]:
    """Branches, in the order of the texts, of a row that holds a beginning that neighbours in the alphabet share once.

    Chat templates begin with the same system turn; at its tokens a causal model computes the same for all.
    """
    branches: dict[int, Branch] = {}
    end, before = 0, ()
    for index, shared in _alphabetical(texts):
        before = _first(before, shared)
        start, end = end, end + len(texts[index]) - shared
        branches[index] = Branch(start, end, before, attends_whole=True)
        before = branches[index].parts
    return [branches[index] for index in range(len(texts))]


def _alphabetical(texts: Sequence[np.ndarray]) -> Iterator[tuple[int, int]]:
    """Each text's index, and how many tokens it shares with the one before it; one token is always its own."""
    last = np.empty(0, dtype=np.int64)
    for index in sorted(range(len(texts)), key=lambda index: texts[index].tobytes()):
        text = texts[index]
        longest = min(len(last), len(text) - 1)
        differs = np.flatnonzero(last[:longest] != text[:longest])
        shared = int(differs[0]) if len(differs) else longest
        yield index, shared if shared >= _LEAST_SHARED else 0
        last = text


def _first(parts: Sequence[tuple[int, int]], tokens: int) -> tuple[tuple[int, int], ...]:
    """The parts that hold the first tokens of a text."""
    found: list[tuple[int, int]] = []
    for start, stop in parts:
        found += [(start, min(stop, start + tokens))] if tokens > 0 else []
        tokens -= stop - start
    return tuple(found)


def can_pack(decoder: Any) -> bool:
    """Whether the decoder's attention can be replaced without changing what it computes.

    It must go through transformers' attention interface as plain scaled dot products, and have no state between
    tokens other than attention (state-space models), nor chunks that depend on a token's place in the row (Llama 4).
    """
    config, kind = decoder.config.get_text_config(), decoder.__class__
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    return (
        bool(getattr(decoder, "_supports_attention_backend", False))
        and config._attn_implementation == "sdpa"
        and kinds <= {"full_attention", "sliding_attention"}
        and not rotates_by_length(decoder)
        and "position_ids" in inspect.signature(kind.forward).parameters
    )


def rotates_by_length(decoder: Any) -> bool:
    """Whether the rotary embedding depends on the longest record of a batch (Phi-3 with its 128k context)."""
    config = decoder.config.get_text_config()
    rope: dict[str, Any] = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    settings = [one for one in (rope, *rope.values()) if hasattr(one, "get")]
    return any(setting.get("rope_type") in ("dynamic", "longrope") for setting in settings)


def causal_mask(length: int, window: int | None, device: "torch.device", *, first: int = 0) -> "torch.Tensor | None":
    """Which keys each query sees, [1, 1, length, first + length]; None where plain causal attention is the same.

    Args:
        length: queries.
        window: tokens that a query of a sliding window sees, itself included; None sees all before it.
        device: where the mask lies.
        first: place of the first query in its own text; the keys before it belong to the same text.
    """
    import torch

    if window is not None and first + length <= window:
        window = None
    if window is None and (first == 0 or length == 1):
        return None
    distance = torch.arange(first, first + length, device=device)[:, None] - torch.arange(first + length, device=device)
    seen = distance >= 0
    return (seen if window is None else seen & (distance < window))[None, None]


_SMALLEST_PACK = 16
"""Matrix products of fewer rows than this use other kernels, whose last bits differ."""


def packed_inputs(
    batch: Sequence[np.ndarray], branches: Sequence[Branch], packing: Packing, device: Any
) -> "dict[str, torch.Tensor]":
    """One row that holds the texts as their branches say, which `packing` is told."""
    import torch

    used = max(branch.stop for branch in branches)
    tokens, positions = np.zeros((2, max(used, _SMALLEST_PACK)), dtype=np.int64)
    for text, branch in zip(batch, branches, strict=True):
        tokens[branch.start : branch.stop] = text[branch.position :]
        positions[branch.start : branch.stop] = np.arange(branch.position, len(text))
    filler = [Branch(used, len(tokens))] if used < len(tokens) else []
    packing.branches = sorted([*branches, *filler], key=lambda branch: branch.start)
    rows = {"input_ids": tokens, "position_ids": positions}
    return {name: torch.as_tensor(row)[None].to(device) for name, row in rows.items()}
