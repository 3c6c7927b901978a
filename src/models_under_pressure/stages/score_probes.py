"""Stage `score_probes`: score one dataset with every probe."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from models_under_pressure.activations.flops import probe_flops
from models_under_pressure.evaluation.scores import ScoreList, write_scores
from models_under_pressure.probes.persistence import load_probe
from models_under_pressure.stages.labelled import labelled_activations
from models_under_pressure.stages.paths import probe_paths, scores_path

METHOD = "probes"


def run(dataset: str, *, probes: Mapping[str, int], store: Path, records: Path, seed: int) -> None:
    """Write the score and cost of each record by each probe and seed.

    Args:
        dataset: name of the dataset.
        probes: name of each probe -> how many seeds it was trained from.
        store: activations of the dataset.
        records: its labelled records.
        seed: the first seed of the probes.
    """
    data, _ = labelled_activations(store, records)
    tokens = np.diff(data.activations.offsets)
    scores: list[ScoreList] = []
    for name, seeds in probes.items():
        for path in probe_paths(name, seed, seeds):
            probe = load_probe(path)
            logits = probe.decision_function(data.activations)
            scores.append(
                ScoreList(
                    dataset=dataset,
                    probe=name,
                    seed=probe.seed,
                    ids=tuple(data.activations.ids),
                    groups=tuple(data.groups),
                    labels=data.labels,
                    logits=logits,
                    probabilities=probe.probabilities(logits),
                    tokens=tokens,
                    flops=probe_flops(probe.hidden, tokens, directions=probe.directions),
                )
            )
    write_scores(scores_path(dataset, METHOD), scores)
