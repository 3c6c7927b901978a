"""Finding the decoder and its blocks by structure, in any Hugging Face model."""

from collections import deque
from typing import TYPE_CHECKING, Any

from models_under_pressure.core.errors import UserError

if TYPE_CHECKING:
    from torch import nn


def decoder_of(model: Any) -> Any:
    """The text decoder without its head: the model that turns token ids into hidden states."""
    decoder = model.get_decoder() if hasattr(model, "get_decoder") else model
    return getattr(decoder, "base_model", decoder)


def blocks_of(decoder: Any) -> "list[nn.Module]":
    """The decoder blocks in order: the outermost list of as many modules as the config counts layers.

    Raises:
        UserError: there is no such list.
    """
    from torch import nn

    count = decoder.config.get_text_config().num_hidden_layers
    queue: deque[nn.Module] = deque([decoder])
    while queue:
        module = queue.popleft()
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return list(module)
        queue.extend(module.children())
    raise UserError(
        f"no list of {count} decoder blocks in {type(decoder).__name__}.",
        remedy="use a decoder-only language model of the Hugging Face library.",
    )


def keep_blocks(config: Any, count: int) -> int:
    """Shorten a model's config to its first `count` blocks, so that the others are never loaded.

    Returns the number of blocks that the whole model has.
    """
    text = config.get_text_config()
    total = int(text.num_hidden_layers)
    if count < total:
        for name, value in list(vars(text).items()):
            if isinstance(value, list | tuple) and len(value) == total:  # one entry per layer, such as `layer_types`
                setattr(text, name, value[:count])
        text.num_hidden_layers = count
    return total


def check_layers(layers: list[int], total: int, name: str) -> None:
    """Refuse layers that the model does not have.

    Raises:
        UserError: naming them and the valid range.
    """
    wrong = [layer for layer in layers if not 0 <= layer < total]
    if wrong or not layers:
        raise UserError(
            f"{name} has no layer {', '.join(map(str, wrong))}." if wrong else "no layer given.",
            remedy=f"use layers from 0 to {total - 1}.",
        )
