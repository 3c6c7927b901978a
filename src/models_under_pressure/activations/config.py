"""What to extract: the model, the precision it computes in, and the way its activations are taken."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from models_under_pressure.core.paths import Dataset, store_path

if TYPE_CHECKING:
    import torch

EMBEDDED_MODEL = "smollm2-135m"
"""The model that ships with the project's dependencies."""

HookPoint = Literal["residual", "post_norm"]
Keep = Literal["tokens", "mean", "last"]
Dtype = Literal["auto", "fast", "float32", "bfloat16"]
"""auto: bfloat16 on a GPU that multiplies it natively, float32 elsewhere, so that figures are the same on every CPU;
fast: bfloat16 on every device that multiplies it natively, CPUs too, whose figures then differ from kind to kind."""


class ModelConfig(BaseModel):
    """A decoder model and how its weights are held."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = EMBEDDED_MODEL
    """Hugging Face id, local path, or the embedded `smollm2-135m`."""
    revision: str | None = None
    """Commit, tag or branch of the Hugging Face repository; None is its main branch. The commit is recorded."""
    dtype: Dtype = "auto"
    """Precision of the forward pass."""
    quantization: Literal["none", "8bit", "4bit"] = "none"
    """Width of the weights (bitsandbytes)."""
    device: str = "auto"
    """auto (every GPU there is, else the CPU), or a torch device such as cpu or cuda:1."""
    trust_remote_code: bool = False
    """Whether Python files that come with the model may run, with all your rights; else such a model is refused."""


class PipelineModel(ModelConfig):
    """The section `model` of params.yaml, whose name is also part of the path of activations."""

    @model_validator(mode="after")
    def _name_is_a_path_part(self) -> "PipelineModel":
        if Path(self.name).is_absolute() or ".." in self.name:
            raise ValueError("model.name is part of output paths: give a local model an alias in `models`")
        return self

    def resolved(self, aliases: Mapping[str, str]) -> ModelConfig:
        """The model, with a short name replaced by the Hugging Face id or path."""
        return ModelConfig.model_validate(self.model_dump() | {"name": aliases.get(self.name, self.name)})


class ProbeParams(BaseModel):
    """The place in the model that probes read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    layer: int = Field(ge=0)
    """Decoder block, counted from 0; the probe reads what enters it."""
    layers: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    """Several decoder blocks instead, whose inputs a probe reads side by side."""

    @field_validator("layers")
    @classmethod
    def _layers_are_distinct(cls, layers: tuple[int, ...] | None) -> tuple[int, ...]:
        if len(set(layers or ())) < len(layers or ()):
            raise ValueError("layers must be distinct")
        return tuple(sorted(layers or ()))

    @property
    def reads(self) -> tuple[int, ...]:
        """The layers that probes read, lowest first."""
        return self.layers or (self.layer,)

    def stores(self, model: str, dataset: Dataset) -> dict[int, Path]:
        """Layer -> path of a dataset's activations.

        All lie in the folder of `layer`, which is one output of one stage: a layer that `layers` has beside it gets a
        folder of its own in there.
        """
        usual = store_path(model, dataset, self.layer)
        return {
            layer: usual if layer == self.layer else usual.parent / f"layer_{layer}" / usual.name
            for layer in self.reads
        }


class ExtractConfig(BaseModel):
    """How activations are taken and kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hook_point: HookPoint = "residual"
    """residual: what enters the decoder block; post_norm: the output of the block's input norm."""
    keep: Keep = "tokens"
    """tokens: every token; mean or last: one vector per record."""
    stored: Literal["bfloat16", "float32"] = "bfloat16"
    """Number format of stored tokens; pooled vectors are float32 always. The last bits of a float32 forward pass differ
    from CPU to CPU: bfloat16 turns them into steps of 0.4 % in some values, float32 keeps them small on twice the disk.
    """
    max_tokens: int = Field(default=8192, ge=2)
    """Longest record, in tokens; longer ones are cut and reported."""
    truncation_side: Literal["left", "right"] = "right"
    """Side on which long records are cut: right keeps their beginning, left their end (after the BOS token)."""
    strict_template: bool = False
    """Whether a record is refused of which the chat template leaves out a character (reasoning of earlier turns, white
    space, ids of calls); else these are counted, shown at the end and kept in the store's attributes."""
    allow_refused: int = Field(default=0, ge=0)
    """Records that the chat template may refuse in a run, which are then skipped and named; with more, the run ends
    with the list once everything else is extracted."""
    batch_tokens: int | Literal["auto"] = "auto"
    """Tokens of one forward pass; auto suits the device's caches or memory."""
    packing: Literal["auto", "off"] = "auto"
    """Whether records share a row of a batch, without padding; auto: on a CPU, where the model allows it exactly."""
    engine: Literal["local", "ray"] = "local"
    """local: this process; ray: the workers of a Ray cluster (`pip install models-under-pressure[ray]`)."""
    workers: int | Literal["auto"] = "auto"
    """Ray workers, each with its own model; auto is one per GPU, or one per two CPU cores."""


class Layers(BaseModel):
    """Which layers are compared, and what is kept of each record for it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    layers: tuple[int, ...] = Field(min_length=1)
    """Decoder blocks, from 0; all are extracted in one pass."""
    keep: Keep
    """What is kept of each record; one vector is enough for a probe of mean or last tokens."""

    @model_validator(mode="after")
    def _layers_are_distinct(self) -> "Layers":
        if len(set(self.layers)) < len(self.layers) or min(self.layers) < 0:
            raise ValueError("layers must be distinct and at least 0")
        return self


@dataclass(frozen=True, eq=False)
class ModelDescription:
    """A model as far as it is known without its weights."""

    tokenizer: Any
    config: ModelConfig
    name: str
    """Name as configured: a Hugging Face id, a path, or the embedded model."""
    revision: str
    """Commit of the repository, or a fingerprint of the files of a local model."""
    n_layers: int
    """Decoder blocks of the whole model."""
    hidden: int
    """Width of the residual stream."""
    dtype: str
    """Precision of the forward pass."""
    device: str
    """Kind of device: cpu, cuda, mps."""


@dataclass(frozen=True, eq=False)
class LoadedModel(ModelDescription):
    """A decoder without its head, ready for forward passes."""

    model: Any
    """The Hugging Face module that turns token ids into hidden states, which may have fewer blocks than the whole, or
    into logits."""


def resolve_device(name: str) -> str:
    """The torch device that `auto` means here: cuda, then mps, then cpu."""
    import torch

    if name != "auto":
        return name
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def resolve_dtype(config: ModelConfig) -> "torch.dtype":
    """The precision of the forward pass: what `auto` and `fast` mean on this device.

    On CPUs bfloat16 products are rounded otherwise by every instruction set, which moves an AUROC by up to 0.01; in
    float32 they agree. Decided by what the hardware says it can do, never by timing it, so that a machine gives the
    same bytes every time.
    """
    import torch

    if config.dtype not in ("auto", "fast"):
        return getattr(torch, config.dtype)
    device = resolve_device(config.device)
    wanted = config.dtype == "fast" or not device.startswith("cpu")
    return torch.bfloat16 if wanted and _multiplies_bfloat16(device) else torch.float32


def _multiplies_bfloat16(device: str) -> bool:
    import torch

    if device.startswith("cuda"):
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if not device.startswith("cpu"):
        return False
    # AVX512-BF16, AMX or ARM's BF16 extension; without them bfloat16 is converted on every use
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))
