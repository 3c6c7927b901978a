"""Every probe family against every other, over seeds and datasets (McKenzie et al. 2025, figure 2)."""

from collections.abc import Mapping, Sequence

from models_under_pressure.experiments.labelled_set import LabelledSet, check_unseen
from models_under_pressure.experiments.scoring import Row, auroc_row, logits_of, mean_row
from models_under_pressure.probes.config import ProbeConfig
from models_under_pressure.probes.training import fit_probes


def compare_probes(
    probes: Mapping[str, ProbeConfig],
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
    fitted = fit_probes(probes, train.data, validation.data, seed=seed)
    rows: list[Row] = []
    for one in tested:
        for name, logits in logits_of(fitted, one).items():
            origin = {"dataset": one.name, "purpose": one.purpose, "probe": name, "family": probes[name].family}
            rows.append(origin | {"seeds": len(logits)} | auroc_row(logits, one.data, confidence=confidence))
    return [*rows, *_means(rows)]


def _means(rows: Sequence[Row]) -> list[Row]:
    means = []
    for purpose in dict.fromkeys(row["purpose"] for row in rows):
        for probe in dict.fromkeys(row["probe"] for row in rows):
            parts = [row for row in rows if row["purpose"] == purpose and row["probe"] == probe]
            origin = {key: parts[0][key] for key in ("purpose", "probe", "family", "seeds")}
            means.append({"dataset": "mean"} | origin | mean_row(parts))
    return means
