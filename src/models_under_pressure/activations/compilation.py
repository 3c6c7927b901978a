"""Compiling decoder blocks."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


@contextmanager
def compiled(blocks: Sequence[Any]) -> Iterator[None]:
    """Compile blocks for any batch shape; they are what they were at the end.

    Hooks stay outside: they sit on the module's call, and it is the `forward` beneath that is replaced.
    """
    import torch

    before = [block.forward for block in blocks]
    try:
        for block in blocks:
            block.forward = torch.compile(block.forward, dynamic=True)
        yield
    finally:
        for block, forward in zip(blocks, before, strict=True):
            block.forward = forward
