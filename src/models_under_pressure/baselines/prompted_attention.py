"""Many prompts with their two replies in one row: each part attends to what comes before it in its own prompt only.

Instructions that all prompts begin with are computed once per row, a prompt once for both of its replies. Nothing is
padded, nothing is kept between passes, and each part is one call of the model's own attention.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_NAME = "mup_branches"


@dataclass(frozen=True, slots=True)
class Branch:
    """Consecutive tokens of a row, which follow other tokens of the row."""

    start: int
    stop: int
    before: tuple[tuple[int, int], ...] = ()
    """(start, stop) of the parts that come before it, in order."""

    @property
    def position(self) -> int:
        """Place of its first token in its own text."""
        return sum(stop - start for start, stop in self.before)


class Branching:
    """The branches of the present row."""

    def __init__(self) -> None:
        self.branches: list[Branch] = []

    def attend(
        self,
        module: Any,
        query: "torch.Tensor",
        key: "torch.Tensor",
        value: "torch.Tensor",
        attention_mask: "torch.Tensor | None",
        **settings: Any,
    ) -> "tuple[torch.Tensor, None]":
        """Hugging Face's own attention, once per branch.

        Args:
            module: the attention module.
            query: [1, heads, tokens, head size]; key and value alike.
            key: see query.
            value: see query.
            attention_mask: None, because transformers builds none for an attention that it does not know.
            **settings: scaling, sliding window and the like, as the module gives them.
        """
        import torch
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        outputs = []
        for branch in self.branches:
            own = slice(branch.start, branch.stop)
            parts = [slice(*part) for part in branch.before] + [own]
            keys, values = (
                torch.cat([states[:, :, part] for part in parts], dim=2) if branch.before else states[:, :, own]
                for states in (key, value)
            )
            mask = _mask(branch, settings.get("sliding_window"), query.device)
            output, _ = sdpa_attention_forward(module, query[:, :, own], keys, values, mask, **settings)
            outputs.append(output)
        return torch.cat(outputs, dim=1), None


@contextmanager
def branching(decoder: Any) -> Iterator[Branching]:
    """Let the decoder attend within the branches of a row."""
    import torch
    from transformers import AttentionInterface

    found = Branching()
    config = decoder.config.get_text_config()
    before = config._attn_implementation
    AttentionInterface.register(_NAME, torch.compiler.disable(found.attend))
    config._attn_implementation = _NAME
    try:
        yield found
    finally:
        config._attn_implementation = before


def _mask(branch: Branch, window: int | None, device: "torch.device") -> "torch.Tensor | None":
    """Which keys each query sees, [1, 1, queries, keys]; None where plain causal attention is the same."""
    import torch

    first, count = branch.position, branch.stop - branch.start
    is_whole = window is None or first + count <= window
    if is_whole and (first == 0 or count == 1):
        return None
    queries = torch.arange(first, first + count, device=device)[:, None]
    keys = torch.arange(first + count, device=device)[None]
    seen = keys <= queries
    if window is not None:
        seen &= queries - keys < window
    return seen[None, None]
