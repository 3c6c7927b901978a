"""The whole of params.yaml."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, model_validator

from models_under_pressure.activations.config import ExtractConfig, ModelConfig
from models_under_pressure.baselines.asked_config import AskBaselineConfig
from models_under_pressure.baselines.finetuned.config import FinetuneConfig
from models_under_pressure.baselines.prompted_config import PromptBaselineConfig
from models_under_pressure.baselines.text_config import TextBaselineConfig
from models_under_pressure.core.yaml import load_yaml
from models_under_pressure.datasets.labelling import LabelConfig
from models_under_pressure.llm.config import LLMConfig
from models_under_pressure.params.check_overlap import CheckOverlapParams
from models_under_pressure.params.evaluate import EvaluateParams
from models_under_pressure.params.experiments import (
    CalibrationParams,
    CascadeParams,
    ChooseLayerParams,
    CompareProbesParams,
    DataEfficiencyParams,
    FinetuningParams,
    GeneralisationParams,
    TrainOnDevParams,
)
from models_under_pressure.params.fetch import FetchParams
from models_under_pressure.params.finetune_baseline import FinetuneBaselineParams
from models_under_pressure.params.plot import PlotParams
from models_under_pressure.params.probe import ProbeParams
from models_under_pressure.params.report import ReportParams
from models_under_pressure.params.score_tokens import ScoreTokensParams
from models_under_pressure.params.train import TrainParams
from models_under_pressure.synthesis.config import SynthesisConfig

PARAMS_PATH = Path("params.yaml")


class Params(BaseModel):
    """Every knob; one section per stage, and the few that stages share."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(ge=0)
    """Seed of every draw."""
    llm: LLMConfig
    fetch: FetchParams
    synthesise: SynthesisConfig
    relabel: LabelConfig
    check_overlap: CheckOverlapParams
    model: ModelConfig
    models: dict[str, str]
    """Short names of models -> Hugging Face ids."""
    extract: ExtractConfig
    probe: ProbeParams
    train: TrainParams
    text_baseline: TextBaselineConfig
    prompt_baseline: PromptBaselineConfig
    ask_baseline: AskBaselineConfig
    finetune_baseline: FinetuneBaselineParams
    evaluate: EvaluateParams
    score_tokens: ScoreTokensParams
    plot: PlotParams
    report: ReportParams
    compare_probes: CompareProbesParams
    choose_layer: ChooseLayerParams
    train_on_dev: TrainOnDevParams
    measure_data_efficiency: DataEfficiencyParams
    measure_finetuning: FinetuningParams
    measure_generalisation: GeneralisationParams
    cascade: CascadeParams
    measure_calibration: CalibrationParams

    @model_validator(mode="after")
    def _model_name_is_a_path_part(self) -> "Params":
        if Path(self.model.name).is_absolute() or ".." in self.model.name:
            raise ValueError("model.name is part of output paths: give a local model an alias in `models`")
        return self

    @model_validator(mode="after")
    def _measured_models_are_finetuned_models(self) -> "Params":
        unknown = set(self.measure_finetuning.models) - set(self.finetune_baseline.models)
        if unknown:
            raise ValueError(f"measure_finetuning.models: {min(unknown)!r} is not in finetune_baseline.models")
        return self

    def finetuned(self, name: str) -> FinetuneConfig:
        """Settings of a finetuned model, with its alias replaced by the Hugging Face id or path."""
        config = self.finetune_baseline.models[name]
        return config.model_copy(update={"model": self.models.get(config.model, config.model)})

    @property
    def resolved_model(self) -> ModelConfig:
        """The model, with its alias replaced by the Hugging Face id or path."""
        return self.model.model_copy(update={"name": self.models.get(self.model.name, self.model.name)})


def load_params(path: Path = PARAMS_PATH) -> Params:
    """Read params.yaml.

    Raises:
        UserError: an unknown, missing or mistyped key, with its line.
    """
    return load_yaml(path, Params)
