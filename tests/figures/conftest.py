"""Scores of three probes on three datasets, one of which has one class only."""

import numpy as np
import pytest

from models_under_pressure.evaluation.scores import ScoreList
from models_under_pressure.figures import Results


@pytest.fixture(scope="session")
def lists() -> list[ScoreList]:
    generator = np.random.default_rng(0)
    found = []
    for dataset, size in (("anthropic_dev", 300), ("mts_dev", 86), ("one_class", 10)):
        labels = (np.arange(size) % 2 == 0) & (dataset != "one_class")
        for probe, signal in (("attention", 2.0), ("mean", 1.5), ("a <b>name</b> & more", 1.0)):
            logits = generator.normal(size=size) + signal * labels - signal / 2
            found.append(
                ScoreList(
                    dataset=dataset,
                    probe=probe,
                    seed=42,
                    ids=tuple(f"{number:04}" for number in range(size)),
                    groups=tuple(f"g{number // 2}" for number in range(size)),
                    labels=labels,
                    logits=logits,
                    probabilities=1 / (1 + np.exp(-logits)),
                )
            )
    return found


@pytest.fixture(scope="session")
def metrics_rows(lists) -> list[dict]:
    from models_under_pressure.evaluation.report import EvaluateConfig, evaluate_scores

    config = EvaluateConfig(resamples=100)
    return [
        {"dataset": scores.dataset, "probe": scores.probe, "purpose": "dev"}
        | evaluate_scores(scores.logits, scores.labels, scores.groups, config=config, seed=0)
        for scores in lists
    ]


@pytest.fixture(scope="session")
def results(lists, metrics_rows) -> Results:
    metrics: dict = {}
    for row in metrics_rows:
        metrics.setdefault(row["dataset"], {})[row["probe"]] = row
    lengths = {scores.dataset: {id_: 10 * number for number, id_ in enumerate(scores.ids)} for scores in lists}
    return Results(metrics, dict.fromkeys(metrics, "dev"), lists, lengths)
