"""How many training prompts a probe needs (McKenzie et al. 2025, figure 4b)."""

from collections.abc import Mapping, Sequence

from models_under_pressure.experiments.labelled_set import LabelledSet, check_unseen, take
from models_under_pressure.experiments.samples import generator_of, largest_sample, nested_samples
from models_under_pressure.experiments.scoring import Logits, Row, auroc_row, logits_of, mean_row
from models_under_pressure.probes.config import ProbeConfig
from models_under_pressure.probes.training import fit_probes


def measure_data_efficiency(
    probes: Mapping[str, ProbeConfig],
    train: LabelledSet,
    validation: LabelledSet,
    tested: Sequence[LabelledSet],
    *,
    sizes: Sequence[int],
    repeats: int,
    seed: int,
    confidence: float = 0.95,
) -> list[Row]:
    """Fit probes on nested, balanced samples of the training prompts, and on the largest such sample.

    Every repeat draws samples of its own and has a seed of its own; the validation set stays whole.

    Returns:
        A row per dataset, method and size, over the repeats; then the same with the mean over datasets, whose `dataset`
        is `mean`. A row's `method` is the name of the probe and its `kind` is `probe`.

    Raises:
        UserError: a tested conversation is among the training records; or see `fit_probes`.
    """
    for one in tested:
        check_unseen([train, validation], one)
    every = [*sizes, largest_sample(train.data.labels)]
    found: dict[tuple[str, str, int], Logits] = {}
    alone = {name: config.model_copy(update={"seeds": 1}) for name, config in probes.items()}
    for repeat in range(repeats):
        for size, rows in nested_samples(train.data.labels, every, generator_of(seed, repeat, train.name)).items():
            fitted = fit_probes(alone, take(train, rows).data, validation.data, seed=seed + repeat)
            for one in tested:
                for name, logits in logits_of(fitted, one).items():
                    key = one.name, name, size
                    found[key] = [*found.get(key, ()), *logits]
    by_name = {one.name: one for one in tested}
    rows = [
        {"dataset": dataset, "method": name, "kind": "probe", "size": size, "repeats": repeats}
        | auroc_row(logits, by_name[dataset].data, confidence=confidence)
        for (dataset, name, size), logits in found.items()
    ]
    return [*rows, *means(rows)]


def means(rows: Sequence[Row]) -> list[Row]:
    """Mean over datasets of each method and size."""
    parts: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        parts.setdefault((row["method"], row["size"]), []).append(row)
    return [
        {"dataset": "mean"} | {key: part[0][key] for key in ("method", "kind", "size", "repeats")} | mean_row(part)
        for part in parts.values()
    ]
