"""Stage `evaluate`: score one dataset with every probe."""

from collections.abc import Sequence
from pathlib import Path

from models_under_pressure.evaluation.report import EvaluateConfig, evaluate_scores
from models_under_pressure.files import write_json
from models_under_pressure.probes.persistence import check_compatible, load_probe
from models_under_pressure.stages.labelled import labelled_activations
from models_under_pressure.stages.paths import PROBES, RESULTS


def run(dataset: str, *, probes: Sequence[str], store: Path, records: Path, config: EvaluateConfig, seed: int) -> None:
    """Write the metrics of each probe and its score per record.

    Args:
        dataset: name of the dataset.
        probes: names of the probes.
        store: activations of the dataset.
        records: its labelled records.
        config: which metrics, and how their intervals are drawn.
        seed: seed of the bootstrap.
    """
    data, rows = labelled_activations(store, records)
    metrics: dict[str, dict[str, float | int]] = {}
    scores: dict[str, list[float]] = {}
    for name in probes:
        probe = load_probe(PROBES / name)
        check_compatible(probe, data.activations)
        logits = probe.decision_function(data.activations)
        probabilities = probe.predict_proba(data.activations)
        metrics[name] = evaluate_scores(
            logits, data.labels, data.groups, probabilities=probabilities, config=config, seed=seed
        )
        scores[name] = [round(float(logit), 6) for logit in logits]
    result = {"metrics": metrics, "ids": [row.id for row in rows], "logits": scores}
    write_json(RESULTS / "evaluate" / f"{dataset}.json", result)
