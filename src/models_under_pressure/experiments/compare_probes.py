"""Compare all probe families on the dev and test sets.

McKenzie et al. 2025, figure 2.
"""

from collections.abc import Sequence

from pydantic import Field

from models_under_pressure.core.files import write_jsonl
from models_under_pressure.core.paths import EXPERIMENTS as RESULTS
from models_under_pressure.core.section import EXPERIMENTS, Section, read
from models_under_pressure.evaluation.config import EvaluateConfig
from models_under_pressure.experiments.shared.at_layer import read_sets
from models_under_pressure.experiments.shared.rows import Row, auroc_row, means
from models_under_pressure.experiments.shared.sets import LabelledSet, logits_of
from models_under_pressure.experiments.shared.unseen import check_unseen
from models_under_pressure.probes.config import ProbeConfig
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
) -> list[Row]:
    """Fit the probes together, each from its seeds, and score every dataset.

    Returns:
        A row per dataset and probe, then one per purpose (dev, test) and probe with the mean over its datasets, whose
        `dataset` is `mean`.

    Raises:
        UserError: a tested conversation is among the training records; or see `fit_probes`.
    """
    for one in tested:
        check_unseen([train, validation], one)
    probes = {name: probe.model_copy(update={"seeds": config.seeds}) for name, probe in config.probes.items()}
    fitted = fit_probes(probes, train.data, validation.data, seed=seed)
    rows: list[Row] = []
    for one in tested:
        for name, logits in logits_of(fitted, one).items():
            origin = {"dataset": one.name, "purpose": one.purpose, "probe": name, "family": probes[name].family}
            rows.append(origin | {"seeds": len(logits)} | auroc_row(logits, one.data, confidence=confidence))
    return [*rows, *means(rows, by=("purpose", "probe", "family", "seeds"))]
