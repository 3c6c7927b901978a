"""Every step from conversations to metrics, for each task in a list (JSON): the arguments of `measured`, its folder.

Prints JSON: of each task the instruction set, metrics as they are written, and the logits.
"""

import json
import random
import sys
from pathlib import Path

import numpy as np
import torch

from models_under_pressure.activations.config import ExtractConfig, LoadedModel, ModelConfig
from models_under_pressure.activations.extract import extract
from models_under_pressure.activations.model import load_model
from models_under_pressure.activations.store import open_store
from models_under_pressure.baselines.data import LabelledRecords
from models_under_pressure.baselines.text import TextBaselineConfig, fit_text_monitors, score_texts
from models_under_pressure.core.records import Label, Record
from models_under_pressure.evaluation.report import EvaluateConfig, evaluate_scores
from models_under_pressure.probes.data import TrainingData, with_labels
from models_under_pressure.probes.families import FAMILIES
from models_under_pressure.probes.training import fit_probes

WORDS = {
    Label.HIGH: "dose surgeon verdict chest evacuate mortgage insulin custody bleeding warrant",
    Label.LOW: "poem garden recipe holiday melody sticker puzzle kitten scarf picnic",
}
COMMON = "please tell me what to do with the letter that came today about my old plan for next week or later"


def conversations(name: str, pairs: int) -> list[Record]:
    """Pairs of texts of which every third word tells the stakes, one time in three the wrong ones."""
    rng = random.Random(name)
    found = []
    for number in range(2 * pairs):
        label, other = (Label.HIGH, Label.LOW) if number % 2 else (Label.LOW, Label.HIGH)
        words = []
        for place in range(rng.randint(9, 30)):
            telling = WORDS[label if rng.random() < 0.65 else other]
            words.append(rng.choice((telling if place % 3 == 0 else COMMON).split()))
        found.append(
            Record(f"{name}{number:03}", " ".join(words), label=label, fields={"pair_id": f"{name}{number // 2}"})
        )
    return found


def activations(model: LoadedModel, records: list[Record], layer: int, path: Path) -> TrainingData:
    extract(records, model=model, config=ExtractConfig(), paths={layer: path})
    return with_labels(open_store(path), records)


def measured(folder: Path, *, model: str, layer: int, pairs: int, families: list[str]) -> dict:
    loaded = load_model(ModelConfig(name=model), layers=[layer])
    splits = {split: conversations(split, pairs) for split in ("train", "validation", "dev")}
    data = {split: activations(loaded, rows, layer, folder / f"{split}.zarr") for split, rows in splits.items()}
    configs = {family: FAMILIES[family].config() for family in families}
    logits = {}
    for family, (probe,) in fit_probes(configs, data["train"], data["validation"], seed=42).items():
        found = probe.decision_function(data["dev"].activations)
        logits[family] = (found, probe.probabilities(found), data["dev"].labels, data["dev"].groups)
    train, dev = (LabelledRecords(split, tuple(splits[split])) for split in ("train", "dev"))
    for monitor in fit_text_monitors(train, TextBaselineConfig(control_seeds=1), seed=42):
        scores = score_texts(monitor, dev)
        logits[monitor.name] = (scores.logits, scores.probabilities, scores.labels, scores.groups)
    config = EvaluateConfig(resamples=500)
    metrics = {
        monitor: evaluate_scores(found, labels, groups, probabilities=probabilities, config=config, seed=42)
        for monitor, (found, probabilities, labels, groups) in logits.items()
    }
    return {
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "metrics": metrics,
        "logits": {monitor: np.asarray(values[0]).tolist() for monitor, values in logits.items()},
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps([measured(Path(folder), **task) for folder, task in json.loads(sys.argv[1])]))
