"""Sections of params.yaml that belong to experiments."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from models_under_pressure.probes.config import ProbeConfig
from models_under_pressure.probes.descent import DescentConfig
from models_under_pressure.probes.families import FAMILIES


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CompareProbesParams(_Section):
    """Which probes to compare."""

    seeds: int = Field(ge=1)
    """Probes fitted of each, from consecutive seeds; what a probe says itself counts for nothing here."""
    probes: dict[str, ProbeConfig] = Field(min_length=1)
    """Name -> family and hyper-parameters."""

    @property
    def seeded(self) -> dict[str, ProbeConfig]:
        """The probes, each with the common number of seeds."""
        return {name: probe.model_copy(update={"seeds": self.seeds}) for name, probe in self.probes.items()}


class ChooseLayerParams(_Section):
    """Which layers are compared, and how one is chosen."""

    layers: tuple[int, ...] = Field(min_length=1)
    """Decoder blocks, from 0; all are extracted in one pass."""
    keep: Literal["tokens", "mean", "last"]
    """What is kept of each record; one vector is enough for a probe of mean or last tokens."""
    folds: int = Field(ge=2)
    """Parts of the training prompts; pairs stay together."""
    rule: Literal["best", "one_standard_error"]
    """best: highest mean AUROC; one_standard_error: the lowest layer within one standard error of it."""
    probe: ProbeConfig

    @model_validator(mode="after")
    def _layers_are_distinct(self) -> "ChooseLayerParams":
        if len(set(self.layers)) < len(self.layers) or min(self.layers) < 0:
            raise ValueError("layers must be distinct and at least 0")
        return self

    @model_validator(mode="after")
    def _the_probe_can_read_what_is_kept(self) -> "ChooseLayerParams":
        reads = getattr(FAMILIES[self.probe.family].fitting, "reduction", "tokens")
        if self.keep not in ("tokens", reads):
            raise ValueError(f"a {self.probe.family} probe reads {reads}, and keep is {self.keep}: set keep to {reads}")
        return self


class TrainOnDevParams(_Section):
    """How probes are trained on samples of the dev sets."""

    modes: tuple[Literal["only", "combine", "fine_tune"], ...] = Field(min_length=1)
    """What is done with the samples."""
    sizes: tuple[int, ...] = Field(min_length=1)
    """Numbers of samples, half of them high-stakes."""
    repeats: int = Field(ge=1)
    """With other samples and another initial probe."""
    copies: int = Field(ge=1)
    """Of each sample among the synthetic prompts, in the mode `combine`."""
    epochs: int = Field(ge=1)
    """Passes over the samples, in the modes `only` and `fine_tune`."""
    learning_rate: float = Field(gt=0)
    """Of these passes; it falls to a tenth."""
    probe: ProbeConfig

    @property
    def fine_tune(self) -> DescentConfig:
        """The descent on the samples."""
        return DescentConfig(
            family=self.probe.family,
            epochs=self.epochs,
            patience=self.epochs,
            learning_rate=self.learning_rate,
            final_learning_rate=self.learning_rate / 10,
        )


class DataEfficiencyParams(_Section):
    """How many training prompts probes get."""

    sizes: tuple[int, ...] = Field(min_length=1)
    """Numbers of prompts, half of them high-stakes; the largest possible one comes on top."""
    repeats: int = Field(ge=1)
    """With other prompts and another seed."""
    probes: dict[str, ProbeConfig] = Field(min_length=1)
    """Name -> family and hyper-parameters."""


class FinetuningParams(_Section):
    """How many training prompts finetuned models get."""

    models: tuple[str, ...]
    """Names of `finetune_baseline.models`; none leaves finetuned models out."""
    sizes: tuple[int, ...] = Field(min_length=1)
    """As those of `measure_data_efficiency`."""
    repeats: int = Field(ge=1)


class GeneralisationParams(_Section):
    """Between which kinds of prompts generalisation is measured."""

    attributes: tuple[str, ...] = Field(min_length=1)
    """Columns of the training prompts."""
    least: int = Field(ge=1)
    """Records of each class that a value needs, to train on or to be tested on."""
    probe: ProbeConfig


class CascadePair(_Section):
    """Two monitors, by the names in their score files."""

    first: str
    second: str


class CascadeParams(_Section):
    """Which monitors are put one behind the other, and for which records."""

    pairs: dict[str, CascadePair] = Field(min_length=1)
    """Name, which says nothing -> the monitors."""
    shares: tuple[Annotated[float, Field(ge=0, le=1)], ...] = Field(min_length=1)
    """Of the records, that the second monitor sees."""
    selections: tuple[Literal["mid", "top", "uncertain", "random"], ...] = Field(min_length=1)
    """Which records these are."""
    merge: Literal["mean", "max", "second"]
    """How two probabilities become one."""

    @property
    def monitors(self) -> list[tuple[str, str]]:
        """The pairs."""
        return [(pair.first, pair.second) for pair in self.pairs.values()]


class CalibrationParams(_Section):
    """Whose probabilities are judged, and how they are recalibrated first."""

    monitors: tuple[str, ...] = Field(min_length=1)
    """Names in score files; the first seed of each."""
    fit_on: Literal["validation", "dev"]
    """Purpose of the datasets that maps are fitted on; these are not judged."""
    recalibrations: tuple[Literal["platt", "isotonic", "temperature"], ...]
    """Kinds of map from logit to probability; the probabilities as they are come first in any case."""
