"""Stage `evaluate`: score one dataset with every probe."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev

from models_under_pressure.evaluation.config import EvaluateConfig
from models_under_pressure.evaluation.report import evaluate_scores
from models_under_pressure.evaluation.scores import ScoreList, write_scores
from models_under_pressure.files import write_json
from models_under_pressure.probes.persistence import check_compatible, load_probe
from models_under_pressure.stages.labelled import labelled_activations
from models_under_pressure.stages.paths import RESULTS, probe_paths


def run(
    dataset: str, *, probes: Mapping[str, int], store: Path, records: Path, config: EvaluateConfig, seed: int
) -> None:
    """Write the metrics of each probe, and the score of each record.

    Args:
        dataset: name of the dataset.
        probes: name of each probe -> how many seeds it was trained from.
        store: activations of the dataset.
        records: its labelled records.
        config: which metrics, and how their intervals are drawn.
        seed: seed of the bootstrap.
    """
    data, _ = labelled_activations(store, records)
    scores: list[ScoreList] = []
    metrics: dict[str, dict[str, float | int]] = {}
    for name, seeds in probes.items():
        found: list[dict[str, float | int]] = []
        for path in probe_paths(name, seed, seeds):
            probe = load_probe(path)
            check_compatible(probe, data.activations)
            logits = probe.decision_function(data.activations)
            probabilities = probe.predict_proba(data.activations)
            scores.append(
                ScoreList(
                    dataset=dataset,
                    probe=name,
                    seed=probe.seed,
                    ids=tuple(data.activations.ids),
                    groups=tuple(data.groups),
                    labels=data.labels,
                    logits=logits,
                    probabilities=probabilities,
                )
            )
            found.append(
                evaluate_scores(logits, data.labels, data.groups, probabilities=probabilities, config=config, seed=seed)
            )
        metrics[name] = _over_seeds(found)
    write_scores(RESULTS / "scores" / f"{dataset}.parquet", scores)
    write_json(RESULTS / "evaluate" / f"{dataset}.json", metrics)


def _over_seeds(found: Sequence[Mapping[str, float | int]]) -> dict[str, float | int]:
    """Means over seeds; with several seeds also the spread of AUROC, which the intervals do not hold."""
    means = {name: _mean([one[name] for one in found]) for name in found[0]}
    if len(found) > 1:
        means["auroc_seed_sd"] = round(stdev(one["auroc"] for one in found), 4)
    return means


def _mean(values: Sequence[float | int]) -> float | int:
    return values[0] if len(set(values)) == 1 else round(fmean(values), 4)
