"""Many prompts with their two replies in one row: each part attends to what comes before it in its own prompt only.

Instructions that all prompts begin with are computed once per row, a prompt once for both of its replies. Nothing is
padded, nothing is kept between passes, and each part is one call of the model's own attention.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from models_under_pressure.activations.packing import attending, causal_mask

if TYPE_CHECKING:
    import torch


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


class Branching(threading.local):
    """The branches of a thread's present row."""

    def __init__(self) -> None:
        self.branches: tuple[Branch, ...] = ()

    def attend(
        self,
        module: Any,
        query: "torch.Tensor",
        key: "torch.Tensor",
        value: "torch.Tensor",
        attention_mask: "torch.Tensor | None",
        **settings: Any,
    ) -> "tuple[torch.Tensor, None]":
        """Hugging Face's own attention, once per branch; arguments as those of `Packing.attend`."""
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
            mask = causal_mask(
                branch.stop - branch.start, settings.get("sliding_window"), query.device, first=branch.position
            )
            output, _ = sdpa_attention_forward(module, query[:, :, own], keys, values, mask, **settings)
            outputs.append(output)
        return torch.cat(outputs, dim=1), None


@contextmanager
def branching(decoder: Any) -> Iterator[Branching]:
    """Let the decoder attend within the branches of a row."""
    found = Branching()
    with attending(decoder, found.attend, name="mup_branches"):
        yield found
