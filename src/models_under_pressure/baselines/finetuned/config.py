"""Hyper-parameters of a finetuned monitor; no heavy imports, because every command reads them with params.yaml."""

from typing import Literal

from pydantic import Field, model_validator

from models_under_pressure.activations.config import EMBEDDED_MODEL
from models_under_pressure.core.section import Section


class FinetuneConfig(Section):
    """One finetuned model: which, what of it is trained, and how."""

    model: str = EMBEDDED_MODEL
    """A name from `models`, a Hugging Face id, or a local path."""
    revision: str | None = None
    """Commit, tag or branch of the Hugging Face repository; None is its main branch. The commit is recorded."""
    device: str = "auto"
    """auto (every GPU there is, else the CPU), or a torch device such as cpu or cuda:1."""
    method: Literal["full", "lora", "qlora"] = "lora"
    """Weights that are trained beside the head: every weight; low-rank adapters (Hu et al. 2021); or adapters of one
    that is held in 4 bits (Dettmers et al. 2023)."""
    blocks: int | None = Field(default=None, ge=1)
    """Decoder blocks that are kept, the first ones; None keeps all. The head reads what the last of them leaves."""
    trained_blocks: int | None = Field(default=None, ge=1)
    """Blocks that are trained, the last of those kept; None trains all, and embeddings where `method` is full. Nothing
    flows back through the blocks below."""
    keep_states: bool = False
    """Compute once what the blocks below the trained ones make of each record, and hold it in memory (records x tokens
    x hidden numbers) instead of computing it in every epoch. Exact."""
    pooling: Literal["last", "mean"] = "last"
    """Input of the head: the final hidden state of its last token, or the mean over its tokens."""
    head: Literal["zero", "fitted"] = "zero"
    """How the head starts: at even odds; or as a logistic regression on what it reads before training (Kumar et al.
    2022), which spares the epochs in which a new head finds its direction."""
    precision: Literal["auto", "float32", "mixed", "bfloat16"] = "auto"
    """float32: everything; mixed: trained weights in float32, arithmetic and frozen weights in bfloat16; bfloat16:
    everything, which halves memory and rounds small steps away; auto: mixed on a GPU that multiplies bfloat16 natively,
    float32 elsewhere, so that figures are the same on every CPU."""
    optimiser: Literal["adamw", "adamw8bit"] = "adamw"
    """adamw8bit keeps the moments in 8 bits (Dettmers et al. 2022): a quarter of their memory."""
    learning_rate: float = Field(default=2e-4, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    decay_every: int = Field(default=4, ge=1)
    """Epochs after which the learning rate is multiplied by `decay`, again and again."""
    decay: float = Field(default=0.5, gt=0, le=1)
    batch_size: int = Field(default=16, ge=1)
    """Records of one optimiser step; the loss is their mean. The paper's batch size times its accumulated batches."""
    batch_tokens: int = Field(default=4096, ge=1)
    """Tokens of one forward and backward pass, padding included; the gradients of a step's passes are accumulated.
    A matter of memory: a longer record is a pass of its own."""
    epochs: int = Field(default=3, ge=1)
    """Most passes over the training records."""
    patience: int = Field(default=3, ge=1)
    """Stop after this many epochs without a better validation AUROC."""
    max_gradient_norm: float = Field(default=1.0, gt=0)
    """Longer gradients of a step are shortened to this."""
    gradient_checkpointing: bool = False
    """Keep only what enters each block and compute the rest again: less memory, a third more work."""
    max_tokens: int = Field(default=2048, ge=2)
    """Longest record, in tokens; longer ones are cut and counted."""
    truncation_side: Literal["left", "right"] = "right"
    """Side on which long records are cut: right keeps their beginning, left their end (after the BOS token)."""
    lora_rank: int = Field(default=16, ge=1)
    lora_alpha: float = Field(default=32, gt=0)
    """Adapters are scaled by alpha over rank."""
    lora_dropout: float = Field(default=0.1, ge=0, lt=1)
    seeds: int = Field(default=1, ge=1)
    """Runs, from the pipeline's seed upwards; metrics are their means."""
    threads: int | None = Field(default=None, ge=1)
    """Cores that share the products of one training step on a CPU; None is all of them. Small models gain little from
    several, lose much on a busy machine, and get other last bits from another number."""
    checkpoint_minutes: float = Field(default=5, ge=0)
    """Least time between two checkpoints inside an epoch; the end of an epoch always leaves one."""

    @model_validator(mode="after")
    def _blocks_fit(self) -> "FinetuneConfig":
        if self.keep_states and self.trained_blocks is None:
            raise ValueError("keep_states needs trained_blocks: without frozen blocks there is nothing to keep")
        if self.blocks and self.trained_blocks and self.trained_blocks > self.blocks:
            raise ValueError(f"trained_blocks {self.trained_blocks} is more than blocks {self.blocks}")
        return self
