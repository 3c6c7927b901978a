"""Compare all probe families on the dev and test sets.

McKenzie et al. 2025, figure 2.
"""

from collections.abc import Sequence

from pydantic import Field

from models_under_pressure.activations.ragged import Activations
from models_under_pressure.core.files import write_jsonl
from models_under_pressure.core.paths import EXPERIMENTS as RESULTS
from models_under_pressure.core.section import EXPERIMENTS, Section, read
from models_under_pressure.evaluation.report import EvaluateConfig
from models_under_pressure.experiments.shared.processes import cores, each
from models_under_pressure.experiments.shared.rows import Logits, Row, auroc_row, means
from models_under_pressure.experiments.shared.sets import LabelledSet, check_unseen, read_sets
from models_under_pressure.probes.data import TrainingData
from models_under_pressure.probes.families import ProbeConfig
from models_under_pressure.probes.probe import score_together
from models_under_pressure.probes.training import fit_probes


class CompareProbes(Section):
    """Which probes to compare."""

    seeds: int = Field(ge=1)
    """Probes fitted of each, from consecutive seeds; this replaces the number that a probe gives."""
    probes: dict[str, ProbeConfig] = Field(min_length=1)
    """Name -> family and hyper-parameters."""


def command() -> None:
    """Compare all probe families on the dev and test sets.

    Example: mup compare_probes
    """
    train, validation, *tested = read_sets("train", "validation", "dev", "test")
    rows = run(
        read("compare_probes", CompareProbes, EXPERIMENTS),
        train,
        validation,
        tested,
        seed=read("seed", int),
        confidence=read("evaluate", EvaluateConfig).confidence,
        processes=cores(),
    )
    write_jsonl(RESULTS / "compare_probes.jsonl", rows)


def run(
    config: CompareProbes,
    train: LabelledSet,
    validation: LabelledSet,
    tested: Sequence[LabelledSet],
    *,
    seed: int,
    confidence: float = 0.95,
    processes: int = 1,
) -> list[Row]:
    """Fit every probe from its seeds, and score every dataset; no result depends on the number of processes.

    Returns:
        A row per dataset and probe, then one per purpose (dev, test) and probe with the mean over its datasets, whose
        `dataset` is `mean`.

    Raises:
        UserError: a tested conversation is among the training records; or see `fit_probes`.
    """
    for one in tested:
        check_unseen([train, validation], one)
    probes = {name: probe.model_copy(update={"seeds": config.seeds}) for name, probe in config.probes.items()}
    data = train.data, validation.data, [one.data.activations for one in tested], seed
    found = dict(zip(probes, each(_scores, data, list(probes.values()), processes=processes), strict=True))
    rows: list[Row] = []
    for number, one in enumerate(tested):
        for name, logits in ((name, scores[number]) for name, scores in found.items()):
            origin = {"dataset": one.name, "purpose": one.purpose, "probe": name, "family": probes[name].family}
            rows.append(origin | {"seeds": len(logits)} | auroc_row(logits, one.data, confidence=confidence))
    return [*rows, *means(rows, by=("purpose", "probe", "family", "seeds"))]


def _scores(data: tuple[TrainingData, TrainingData, list[Activations], int], probe: ProbeConfig) -> list[Logits]:
    """Logits of one probe on every tested dataset."""
    train, validation, tested, seed = data
    fitted = fit_probes({"": probe}, train, validation, seed=seed)[""]
    return [score_together(fitted, activations) for activations in tested]
