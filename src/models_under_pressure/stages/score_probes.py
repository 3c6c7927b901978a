"""Score every dataset with every probe."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from models_under_pressure.activations.config import PipelineModel, ProbeParams
from models_under_pressure.activations.flops import probe_flops
from models_under_pressure.core.paths import Dataset, datasets_in_use, probe_paths, scores_path
from models_under_pressure.core.section import read
from models_under_pressure.evaluation.scores import ScoreList, ensemble, write_scores
from models_under_pressure.probes.data import labelled_activations
from models_under_pressure.probes.families import ProbeConfig, TrainConfig
from models_under_pressure.probes.probe import Probe, load_probe, score_together

METHOD = "probes"


def command() -> None:
    """Score every dataset in use with every probe.

    Example: mup score_probes
    """
    model, place, seed = read("model", PipelineModel).name, read("probe", ProbeParams), read("seed", int)
    probes, datasets = read("train", TrainConfig).probes, datasets_in_use()
    run(datasets, probes=probes, stores=[[*place.stores(model, one).values()] for one in datasets], seed=seed)


def run(
    datasets: Sequence[Dataset], *, probes: Mapping[str, ProbeConfig], stores: Sequence[Sequence[Path]], seed: int
) -> None:
    """Write the score and cost of each record by each probe, or by the ensemble of a probe's seeds.

    Args:
        datasets: what is scored.
        probes: name -> settings, of which `seeds` and `ensemble` count here.
        stores: of each dataset, one per layer.
        seed: first seed of each probe.
    """
    loaded = [(name, load_probe(path)) for name, one in probes.items() for path in probe_paths(name, seed, one.seeds)]
    lists: list[ScoreList] = []
    for dataset, store in zip(datasets, stores, strict=True):
        found = _score(dataset, store, loaded)
        for name, one in probes.items():
            own = [scores for scores in found if scores.probe == name]
            lists += [ensemble(own)] if one.ensemble else own
    write_scores(scores_path(METHOD), lists)


def _score(dataset: Dataset, store: Sequence[Path], probes: Sequence[tuple[str, Probe]]) -> list[ScoreList]:
    data, _ = labelled_activations(store, dataset.path)
    tokens = np.diff(data.activations.offsets)
    every = score_together([probe for _, probe in probes], data.activations)
    return [
        ScoreList(
            dataset=dataset.name,
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
        for (name, probe), logits in zip(probes, every, strict=True)
    ]
