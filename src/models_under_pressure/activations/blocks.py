"""The blocks of any Hugging Face decoder, found by structure, and the hidden states between them."""

import threading
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from models_under_pressure.activations.config import HookPoint
from models_under_pressure.activations.packing import packed, packed_inputs, sharing_beginnings
from models_under_pressure.core.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import nn

    from models_under_pressure.activations.config import LoadedModel


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


def keep_blocks(config: Any, count: int) -> None:
    """Shorten a model's config to its first `count` blocks, so that the others are never loaded."""
    text = config.get_text_config()
    for name, value in list(text.__dict__.items()):
        # one entry per layer, such as `layer_types`
        if value.__class__ in (list, tuple) and len(value) == text.num_hidden_layers:
            setattr(text, name, value[:count])
    text.num_hidden_layers = min(count, text.num_hidden_layers)


def check_layers(layers: Sequence[int], total: int, name: str) -> list[int]:
    """The layers of a model by their own numbers: -1 is the last of 0 to `total`, as in a Python list.

    Layer L below `total` is what enters decoder block L, counted from 0; layer `total` is what leaves the last block,
    before the model's final norm.

    Raises:
        UserError: naming those that do not exist, and which do.
    """
    wrong = [layer for layer in layers if not -total - 1 <= layer <= total]
    if wrong or not layers:
        raise UserError(
            f"{name} has no layer {', '.join(map(str, wrong))}." if wrong else "no layer given.",
            remedy=f"use 0 to {total - 1} for what enters one of its {total} decoder blocks, or {total} (or -1) for "
            "what leaves the last, before the final norm.",
        )
    return [layer % (total + 1) for layer in layers]


class _Reached(Exception):
    """The last wanted hidden state is there; what the model would do next is not needed."""


class Taps(threading.local):
    """The hidden states of a thread's latest forward pass, by layer."""

    def __init__(self, decoder: Any) -> None:
        self._decoder = decoder
        self.states: dict[int, torch.Tensor] = {}

    def forward(self, *, use_cache: bool = False, **inputs: Any) -> "dict[int, torch.Tensor]":
        """Run the decoder up to the deepest tapped layer, behind the tokens of `past_key_values` with `use_cache`.

        Returns:
            For each layer the hidden states [batch, sequence, hidden], on the device of the layer.
        """
        import torch

        self.states = {}
        with torch.inference_mode(), suppress(_Reached):
            self._decoder(**inputs, use_cache=use_cache)
        states, self.states = self.states, {}
        return states


@contextmanager
def tapped(decoder: Any, layers: Sequence[int], hook_point: HookPoint, *, stops: bool = True) -> Generator[Taps]:
    """Tap the decoder at several layers.

    residual at layer L is the input of block L, which is `output_hidden_states[L]` of Hugging Face; where L is the
    number of blocks, it is the output of the last one. Hugging Face has no such entry: its last one has been through
    the final norm in most families. post_norm is the output of block L's input norm. Hooks are removed at the end, also
    after an error. With `stops`, a forward pass ends at the deepest of them.

    Raises:
        UserError: post_norm is asked of a block that does not begin with a norm (OLMo 2 norms the outputs), or of the
            output of the last block.
    """
    taps = Taps(decoder)
    blocks = blocks_of(decoder)
    deepest = max(layers) if stops else None
    if max(layers) > len(blocks):
        problem = f"layer {max(layers)} is asked of a model of which {len(blocks)} decoder blocks are loaded."
        raise UserError(problem, remedy="load it as far as that layer.")
    with ExitStack() as hooks:
        for layer in sorted(set(layers)):
            if layer == len(blocks):
                hooks.callback(_tap_output(blocks[-1], taps, layer, hook_point, layer == deepest).remove)
                continue
            block = blocks[layer]
            if hook_point == "residual":
                handle = block.register_forward_pre_hook(_tap_input(taps, layer, layer == deepest), with_kwargs=True)
                hooks.callback(handle.remove)
            else:
                for handle in _tap_first_norm(block, taps, layer, layer == deepest):
                    hooks.callback(handle.remove)
        yield taps


def _tap_input(taps: Taps, layer: int, is_last: bool) -> Any:
    def hook(_module: "nn.Module", args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        taps.states[layer] = args[0] if args else kwargs["hidden_states"]
        if is_last:
            raise _Reached

    return hook


def _tap_output(block: "nn.Module", taps: Taps, layer: int, hook_point: HookPoint, is_last: bool) -> Any:
    if hook_point != "residual":
        raise UserError(
            f"layer {layer} is what leaves the last decoder block: no block's input norm reads it.",
            remedy="use `hook_point: residual`, or a lower layer.",
        )

    def hook(_module: "nn.Module", _args: Any, output: Any) -> None:
        taps.states[layer] = output[0] if isinstance(output, tuple) else output
        if is_last:
            raise _Reached

    return block.register_forward_hook(hook)


def _tap_first_norm(block: "nn.Module", taps: Taps, layer: int, is_last: bool) -> list[Any]:
    """The first module with work to do inside a block is its input norm, whatever the family calls it."""
    from torch import nn

    def hook(module: "nn.Module", _args: Any, output: "torch.Tensor") -> None:
        if layer in taps.states:
            return
        if any(parameter.dim() > 1 for parameter in module.parameters(recurse=False)):
            raise UserError(
                f"block {layer} begins with {type(module).__name__}, not with a norm.",
                remedy="use `hook_point: residual` with this model.",
            )
        taps.states[layer] = output
        if is_last:
            raise _Reached

    idle = nn.Dropout | nn.Identity
    leaves = [module for module in block.modules() if not any(module.children()) and not isinstance(module, idle)]
    return [leaf.register_forward_hook(hook) for leaf in leaves]


_LENGTHS = (17, 23)
_TOLERANCES = {"float32": 1e-4, "bfloat16": 0.03, "quantised": 0.1}
"""Greatest relative difference of hidden states that rounding explains; 8-bit rounding depends on the whole batch."""


def check_causal(model: "LoadedModel", taps: Taps) -> None:
    """Refuse models whose tokens see what comes after them: right padding would change their numbers.

    Raises:
        UserError: the hidden states of a text change when text is added at its end.
    """
    tokens = _tokens(model.model)
    alone = taps.forward(input_ids=tokens[None, : _LENGTHS[0]])
    longer = taps.forward(input_ids=tokens[None])
    if not _agree(alone, {layer: state[:, : _LENGTHS[0]] for layer, state in longer.items()}, _tolerance(model)):
        raise UserError(
            "the model is not causal: its tokens see what comes after them.",
            where=model.name,
            remedy="use a decoder-only language model.",
        )


def packs_exactly(model: "LoadedModel", taps: Taps) -> bool:
    """Whether records that share a row, and a beginning, get the numbers that each gets alone."""
    import torch

    tokens = _tokens(model.model)
    texts = [*torch.split_with_sizes(tokens, _LENGTHS), tokens]  # the last one begins as the first does
    alone = [taps.forward(input_ids=text[None]) for text in texts]
    rows = [text.cpu().numpy() for text in texts]
    branches = sharing_beginnings(rows)
    with packed(model.model) as packing:
        inputs: dict[str, Any] = packed_inputs(rows, branches, packing, tokens.device)
        together = taps.forward(**inputs)
    places = np.concatenate([branch.places for branch in branches])
    return _agree(
        {layer: torch.cat([states[layer] for states in alone], dim=1) for layer in together},
        {layer: states[:, torch.as_tensor(places).to(states.device)] for layer, states in together.items()},
        _tolerance(model),
    )


def _tokens(decoder: Any) -> "torch.Tensor":
    import torch

    embedding = decoder.get_input_embeddings().weight
    return torch.arange(sum(_LENGTHS), device=embedding.device) * 7 % embedding.shape[0]


def _tolerance(model: "LoadedModel") -> float:
    return _TOLERANCES[model.dtype if model.quantization == "none" else "quantised"]


def _agree(some: "Mapping[int, torch.Tensor]", others: "Mapping[int, torch.Tensor]", tolerance: float) -> bool:
    return all(relative_difference(others[layer], states) < tolerance for layer, states in some.items())


def relative_difference(found: "torch.Tensor", expected: "torch.Tensor") -> float:
    """Norm of the difference over the norm of what is expected."""
    ours, theirs = expected.double(), found.double()
    return float((ours - theirs).square().sum() / ours.square().sum()) ** 0.5
