"""What the experiments on probes have in common: the datasets in use at the layers of `probe`, seed and confidence."""

from collections.abc import Sequence
from dataclasses import dataclass

from models_under_pressure.activations.config import PipelineModel, ProbeParams
from models_under_pressure.core.paths import Purpose, datasets_in_use
from models_under_pressure.core.section import read
from models_under_pressure.evaluation.report import EvaluateConfig
from models_under_pressure.experiments.shared.rows import cores
from models_under_pressure.experiments.shared.samples import check_unseen
from models_under_pressure.experiments.shared.sets import LabelledSet, read_set


@dataclass(frozen=True)
class Setting:
    """Datasets, seed and confidence of one experiment; no tested conversation is among the training prompts."""

    train: LabelledSet
    validation: LabelledSet
    tested: Sequence[LabelledSet] = ()
    seed: int = 0
    """Seed of the first repeat, on which all draws depend."""
    confidence: float = 0.95
    """Coverage of the intervals."""
    processes: int = 1
    """Number of processes; no result depends on it."""

    def __post_init__(self) -> None:
        for one in self.tested:
            check_unseen([self.train, self.validation], one)

    @property
    def pairs(self) -> list[tuple[LabelledSet, LabelledSet]]:
        """Dev and test set of each source that has both."""
        by_name = {one.name: one for one in self.tested}
        sources = [name.removesuffix("_dev") for name in by_name if name.endswith("_dev")]
        return [(by_name[f"{name}_dev"], by_name[f"{name}_test"]) for name in sources if f"{name}_test" in by_name]


def read_setting(*tested: Purpose) -> Setting:
    """The training prompts, and the datasets of the purposes that are tested.

    Raises:
        UserError: a purpose has no dataset; a tested conversation is among the training prompts; or see
            `labelled_activations`.
    """
    model, place = read("model", PipelineModel).name, read("probe", ProbeParams)
    train, validation, *others = (
        read_set(one, [*place.stores(model, one).values()]) for one in datasets_in_use("train", "validation", *tested)
    )
    confidence = read("evaluate", EvaluateConfig).confidence
    return Setting(train, validation, others, read("seed", int), confidence, cores())
