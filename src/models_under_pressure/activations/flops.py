"""Operations of forward passes, probes and training steps, by an exact count of what each block does with a token."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Int64
from numpy.typing import ArrayLike

from models_under_pressure.activations.blocks import blocks_of, decoder_of
from models_under_pressure.activations.config import ModelConfig
from models_under_pressure.activations.embedded import from_transformers, quiet
from models_under_pressure.activations.model import read_config
from models_under_pressure.core.errors import UserError

Counts = Int64[np.ndarray, "records"]


@dataclass(frozen=True, slots=True)
class BlockShape:
    """Sizes of one decoder block that decide its cost."""

    weights: int
    """Weights that a token is multiplied with; of a mixture of experts those that are active."""
    attention: int
    """Heads times their size: width of the queries, and of the values."""
    window: int | None = None
    """Tokens that a token attends to at most, itself included; None is all before it."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """Sizes of a decoder model that decide its cost."""

    hidden: int
    vocabulary: int
    blocks: tuple[BlockShape, ...]


def forward_flops(
    architecture: Architecture,
    tokens: ArrayLike,
    *,
    past: ArrayLike = 0,
    layer: int | None = None,
    head_tokens: ArrayLike = 0,
) -> Counts:
    """Operations of one forward pass over each record: sum over blocks of 2 N S + 4 a sum_t min(t, w).

    N are the block's weights, S the tokens, a the width of its attention, w its window: a token at place t is
    compared with min(t, w) keys and mixes as many values (the paper's F(S) = S (2 N + 2 m d S), exact to the token).

    Args:
        architecture: the model.
        tokens: tokens of each record; a number or an array.
        past: tokens before them whose keys and values are kept.
        layer: run only the blocks below it, as extraction at that layer does; None runs all.
        head_tokens: tokens of each record for which the next token is predicted, at 2 hidden x vocabulary each.

    Raises:
        ValueError: the model has no such layer, or a count is negative.
    """
    count = len(architecture.blocks)
    if layer is not None and not 0 <= layer <= count:
        raise ValueError(f"layer {layer} is outside 0 to {count}")
    before, new, predicted = (_counts(numbers) for numbers in (past, tokens, head_tokens))
    total = np.zeros(np.broadcast_shapes(before.shape, new.shape, predicted.shape), dtype=np.int64)
    for block in architecture.blocks[:layer]:
        keys = _keys(before + new, block.window) - _keys(before, block.window)
        total += 2 * block.weights * new + 4 * block.attention * keys
    return total + 2 * architecture.hidden * architecture.vocabulary * predicted


def probe_flops(hidden: int, tokens: ArrayLike, *, directions: int = 1) -> Counts:
    """Operations of a linear probe on each record: every token times each direction, 2 d S k.

    k directions: a mean, max or last probe has one, an attention probe two, its query and its value. The activations
    themselves are free: the monitored model computes them anyway. (The paper counts d S k, a multiplication with its
    addition as one, although it counts two for models.)
    """
    return 2 * hidden * directions * _counts(tokens)


def training_step_flops(
    forward: ArrayLike, *, trains: Literal["all", "adapters"] = "all", checkpointing: bool = False
) -> Counts:
    """Operations of a training step, from those of its forward pass.

    The backward pass does two products for each of the forward pass: gradients of the inputs and of the weights
    (Kaplan et al. 2020, section 2.1). Frozen weights need the first only, and adapters are too small to count (rank
    16 on a width of 2,048: 1.6 %). Gradient checkpointing runs the forward pass a second time.
    """
    passes = (3 if trains == "all" else 2) + checkpointing
    return passes * _counts(forward)


def architecture_of(config: Any) -> Architecture:
    """The architecture that a Hugging Face config describes, read off the modules it would build, without memory.

    Raises:
        UserError: a block has no softmax attention, or experts whose number per token the config does not say.
    """
    import torch

    with torch.device("meta"), quiet():
        decoder = decoder_of(from_transformers("AutoModel").from_config(config, trust_remote_code=False))
    text = config.get_text_config()
    heads = int(text.num_attention_heads)
    width = heads * int(getattr(text, "head_dim", None) or text.hidden_size // heads)
    blocks = blocks_of(decoder)
    return Architecture(
        hidden=int(text.hidden_size),
        vocabulary=int(text.vocab_size),
        blocks=tuple(
            BlockShape(_weights(block, text), width, window)
            for block, window in zip(blocks, _windows(text, len(blocks)), strict=True)
        ),
    )


def read_architecture(config: ModelConfig) -> Architecture:
    """The architecture of a model by name, from its config file alone.

    Raises:
        UserError: the model is not found or gated, or see `architecture_of`.
    """
    return architecture_of(read_config(config))


def _counts(numbers: ArrayLike) -> Counts:
    found = np.asarray(numbers, dtype=np.int64)
    if (found < 0).any():
        raise ValueError(f"a count is negative: {found.min()}")
    return found


def _keys(tokens: Counts, window: int | None) -> Counts:
    """Keys that all tokens of a record are compared with: sum over t = 1 ... tokens of min(t, window)."""
    inside = tokens if window is None else np.minimum(tokens, window)
    outside = 0 if window is None else (tokens - inside) * window
    return inside * (inside + 1) // 2 + outside


def _weights(block: Any, text: Any) -> int:
    """Weights of the matrices of a block; biases and norms are vectors and not multiplied as matrices."""
    total = 0
    for parameter in block.parameters():
        if parameter.dim() == 2:
            total += parameter.numel()
        elif parameter.dim() == 3:  # experts in one tensor: [experts, out, in]
            active = getattr(text, "num_experts_per_tok", None)
            if active is None or parameter.shape[1] == 1:
                raise UserError(
                    f"a block of {text.model_type} holds a weight of shape {list(parameter.shape)}.",
                    where="FLOPs",
                    remedy="only decoder blocks of attention and (mixtures of) linear layers can be counted.",
                )
            total += parameter.numel() // parameter.shape[0] * int(active)
    return total


def _windows(text: Any, count: int) -> list[int | None]:
    window = getattr(text, "sliding_window", None)
    kinds = getattr(text, "layer_types", None)
    if kinds is None:
        uses = window is not None and getattr(text, "use_sliding_window", True)
        return [window if uses else None] * count
    unknown = set(kinds) - {"full_attention", "sliding_attention"}
    if unknown:
        raise UserError(
            f"blocks of {text.model_type} are of the kind {', '.join(sorted(unknown))}.",
            where="FLOPs",
            remedy="only full and sliding attention can be counted.",
        )
    return [window if kind == "sliding_attention" else None for kind in kinds]
