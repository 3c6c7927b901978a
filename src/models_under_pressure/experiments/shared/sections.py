"""Entries of sections by their names."""

from collections.abc import Mapping
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from models_under_pressure.baselines.finetuned.config import FinetuneConfig
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.section import EXPERIMENTS, Section, read

T = TypeVar("T")


def entry(entries: Mapping[str, T], name: str, where: str) -> T:
    """The entry of that name; `where` is the parameter that holds them.

    Raises:
        UserError: there is none.
    """
    if name not in entries:
        known = ", ".join(entries) or "none yet"
        raise UserError(f"no model {name!r}.", where=where, remedy=f"use one of its names ({known}), or add it there.")
    return entries[name]


class FinetuneBaseline(Section):
    """The models to finetune."""

    models: dict[str, FinetuneConfig]
    """Name -> model and hyper-parameters; each scores as `finetuned_<name>`."""


def finetuned(name: str) -> FinetuneConfig:
    """Settings of a finetuned model, a short name replaced by the Hugging Face id or path.

    Raises:
        UserError: there is no model of that name.
    """
    config = entry(read("finetune_baseline", FinetuneBaseline, EXPERIMENTS).models, name, "finetune_baseline.models")
    return config.model_copy(update={"model": read("models", dict[str, str]).get(config.model, config.model)})


class Layers(BaseModel):
    """Which layers are extracted, and what is kept of each record."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    layers: tuple[int, ...] = Field(min_length=1)
    """Decoder blocks, from 0; all are extracted in one pass."""
    keep: Literal["tokens", "mean", "last"]
    """What is kept of each record; one vector is enough for a probe of mean or last tokens."""

    @model_validator(mode="after")
    def _layers_are_distinct(self) -> "Layers":
        if len(set(self.layers)) < len(self.layers) or min(self.layers) < 0:
            raise ValueError("layers must be distinct and at least 0")
        return self
