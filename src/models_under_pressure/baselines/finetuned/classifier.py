"""A language model with a head of two classes in place of its vocabulary."""

import re
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Bool, Float64

from models_under_pressure.activations.blocks import blocks_of, check_causal, packs_exactly, tapped
from models_under_pressure.activations.config import LoadedModel, ModelConfig, resolve_dtype
from models_under_pressure.activations.model import load_model
from models_under_pressure.activations.packing import can_pack
from models_under_pressure.baselines.finetuned.config import FinetuneConfig
from models_under_pressure.core.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import nn


Precision = Literal["float32", "mixed", "bfloat16"]

_INVERSE_REGULARISATION = 0.001
"""Inverse regularisation of the fitted head, as the mean-pooled logistic probe's (paper, appendix C: `C = 1e-3`)."""


@dataclass(frozen=True, eq=False)
class Classifier:
    """A decoder and its head; training changes the weights in place."""

    loaded: LoadedModel
    """The model as it was loaded; its decoder holds the adapters, if there are any."""
    head: "nn.Linear"
    """Final hidden state of a record -> logits of the negative and the positive class; always float32."""
    precision: Precision
    packs: bool
    """Whether records share a row without padding."""
    pooling: Literal["last", "mean"]
    """Hidden state of a record that the head reads: of its last token, or the mean over its tokens."""
    first_trained: int
    """Block below which all is frozen; 0 if everything is trained."""
    frozen: "FrozenStates | None" = None
    """Output of the blocks below it for all records to come, if these blocks are to be skipped."""

    @property
    def decoder(self) -> Any:
        """The Hugging Face module that turns token ids into hidden states."""
        return self.loaded.model

    @property
    def trained(self) -> "dict[str, nn.Parameter]":
        """The weights that training changes, by name."""
        of_decoder = {name: weight for name, weight in self.decoder.named_parameters() if weight.requires_grad}
        return of_decoder | {f"head.{name}": weight for name, weight in self.head.named_parameters()}

    def train(self) -> None:
        """Switch dropout on, but not in what is frozen."""
        self.decoder.eval()
        for module in blocks_of(self.decoder)[self.first_trained :] if self.first_trained else [self.decoder]:
            module.train()

    def put(self, values: "Mapping[str, torch.Tensor]") -> None:
        """Set the trained weights to copies of `values`."""
        import torch

        with torch.no_grad():
            for name, weight in self.trained.items():
                weight.copy_(values[name])

    def copies(self) -> "dict[str, torch.Tensor]":
        """The trained weights in memory of their own, which later steps cannot change."""
        return {name: weight.detach().to("cpu", copy=True) for name, weight in self.trained.items()}


def make_classifier(config: FinetuneConfig, *, seed: int) -> Classifier:
    """Load the model and give it a fresh head, and fresh adapters if the method has them.

    Raises:
        UserError: the model is not found, gated, not causal, or has fewer blocks than are kept or trained.
    """
    precision = resolve_precision(config)
    loaded = load_model(_model_config(config, precision), layers=[config.blocks - 1] if config.blocks else None)
    decoder, count = loaded.model, len(blocks_of(loaded.model))
    first_trained = count - config.trained_blocks if config.trained_blocks else 0
    if first_trained < 0:
        raise UserError(
            f"{loaded.name} has {count} blocks, not {config.trained_blocks}.", remedy="lower `trained_blocks`."
        )
    _keep_differentiable(decoder)
    with tapped(decoder, [count - 1], "residual") as taps:
        check_causal(loaded, taps)
        packs = loaded.device == "cpu" and can_pack(decoder) and packs_exactly(loaded, taps)
    with seeded(seed):
        head = _fresh_head(loaded)
        decoder.requires_grad_(config.method == "full")
        if config.method == "full":
            for weight in _below(decoder, first_trained):
                weight.requires_grad_(False)
        else:
            _add_adapters(decoder, config, precision, first_trained)
    if config.gradient_checkpointing:
        # before transformers 5.2x it had another name
        enable = getattr(decoder, "activation_checkpointing_enable", None) or decoder.gradient_checkpointing_enable
        enable({"use_reentrant": False})  # the reentrant kind finds no gradients behind frozen embeddings
    return Classifier(loaded, head, precision, packs, config.pooling, first_trained)


@contextmanager
def seeded(seed: int) -> Generator[None]:
    """Draw from a seed for a while, and leave the process's own generators as they were."""
    import torch

    random: Any = torch.random
    with random.fork_rng(devices=range(torch.cuda.device_count())):
        random.manual_seed(seed)
        yield


def fit_head(
    classifier: Classifier, pooled: Float64[np.ndarray, "records hidden"], labels: Bool[np.ndarray, "records"]
) -> None:
    """Set the head to a logistic regression on what it reads of the training records.

    Linear probing before finetuning (Kumar et al. 2022, section 3.4): a head that points anywhere else would at first
    pull the features towards itself.
    """
    import torch
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaler: Any = StandardScaler()
    fitted: Any = LogisticRegression(C=_INVERSE_REGULARISATION, max_iter=10_000)
    fitted.fit(scaler.fit_transform(pooled), labels)
    weight = fitted.coef_[0] / scaler.scale_
    with torch.no_grad():
        classifier.head.weight[1] = torch.as_tensor(weight)
        classifier.head.bias[1] = float(fitted.intercept_[0] - weight @ scaler.mean_)


class FrozenStates(threading.local):
    """The hidden states [tokens, hidden] that enter the first trained block, by the record's tokens."""

    def __init__(self, states: "Mapping[bytes, torch.Tensor]") -> None:
        self._states = states
        self._present: torch.Tensor | None = None

    def lay_out(self, batch: Sequence[np.ndarray], tokens: "torch.Tensor", *, packed: bool) -> None:
        """Place the states of a batch as its tokens are placed, for the thread's next forward pass.

        Args:
            batch: token ids of each record.
            tokens: the pass's token ids [rows, width].
            packed: whether the records share a row.

        Raises:
            KeyError: a record's states were not computed.
        """
        parts = [self._states[one.tobytes()] for one in batch]
        self._present = parts[0].new_zeros(*tokens.shape, parts[0].shape[-1])
        for place, part in zip(places(batch, packed=packed), parts, strict=True):
            self._present[place] = part

    @contextmanager
    def skipping(self, decoder: Any, block: int) -> Generator[None]:
        """Let the decoder begin at a block, with the states laid out."""
        blocks = blocks_of(decoder)
        with ExitStack() as stack:
            for module in blocks[:block]:
                stack.enter_context(_idle(module))
            handle = blocks[block].register_forward_pre_hook(self._put, with_kwargs=True)
            stack.callback(handle.remove)
            yield

    def _put(
        self, _module: "nn.Module", args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        assert self._present is not None
        return ((self._present, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": self._present})


def places(batch: Sequence[np.ndarray], *, packed: bool) -> list[tuple[int, slice]]:
    """(row, columns) of each record in a batch: one row holds all, or each has its own."""
    if not packed:
        return [(row, slice(0, len(one))) for row, one in enumerate(batch)]
    ends: list[int] = np.cumsum([len(one) for one in batch]).tolist()
    return [(0, slice(end - len(one), end)) for one, end in zip(batch, ends, strict=True)]


@contextmanager
def _idle(module: Any) -> Generator[None]:
    """Let a block hand its input on."""
    own = module.__dict__.get("forward")
    module.forward = _first_argument
    try:
        yield
    finally:
        del module.forward
        if own is not None:
            module.forward = own


def _first_argument(hidden_states: Any, *_: Any, **__: Any) -> Any:
    return hidden_states


def resolve_precision(config: FinetuneConfig) -> Precision:
    """The precision that `auto` means here."""
    import torch

    if config.precision != "auto":
        return config.precision
    return "mixed" if resolve_dtype(ModelConfig(device=config.device)) is torch.bfloat16 else "float32"


def _model_config(config: FinetuneConfig, precision: Precision) -> ModelConfig:
    """Weights that are trained in float32 are loaded so; frozen ones in the precision of the arithmetic."""
    wide = precision == "float32" or (precision == "mixed" and config.method == "full")
    return ModelConfig(
        name=config.model,
        revision=config.revision,
        dtype="float32" if wide else "bfloat16",
        quantization="4bit" if config.method == "qlora" else "none",
        device=config.device,
    )


def _keep_differentiable(decoder: Any) -> None:
    """Keep 4-bit layers from re-arranging their weights for inference on CPUs with AVX512-BF16.

    bitsandbytes does so in the first pass without gradients and does not undo it; the kernel for that arrangement has
    no gradient, so that after one validation pass nothing would flow back through the layer, with no error.
    """
    for module in decoder.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def _fresh_head(loaded: LoadedModel) -> "nn.Linear":
    """Zero, so that training starts from even odds.

    Final hidden states are long in many models; random weights give logits so far off that the first steps are spent
    on taking them back.
    """
    import torch
    from torch import nn

    head = nn.Linear(loaded.hidden, 2, dtype=torch.float32)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    *_, last = loaded.model.parameters()
    return head.to(last.device)


def _below(decoder: Any, block: int) -> "Iterator[nn.Parameter]":
    """The weights that come before a block: embeddings and the blocks below it."""
    if block == 0:
        return
    first = next(blocks_of(decoder)[block].parameters())
    for weight in decoder.parameters():
        if weight is first:
            return
        yield weight


def _add_adapters(decoder: Any, config: FinetuneConfig, precision: Precision, first: int) -> None:
    """Low-rank adapters on every linear layer, as Dettmers et al. 2023, section 4, found necessary; from a block on."""
    import torch
    from peft import LoraConfig, inject_adapter_in_model

    frozen = set(blocks_of(decoder)[:first])
    names = [re.escape(name) for name, module in decoder.named_modules() if module in frozen]
    make: Any = LoraConfig  # whose alpha may be a float as well, and scales so
    settings = make(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules="all-linear",
        exclude_modules=rf"({'|'.join(names)})\..*" if names else None,
    )
    inject_adapter_in_model(settings, decoder)
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    for weight in decoder.parameters():
        if weight.requires_grad:
            weight.data = weight.data.to(dtype)
