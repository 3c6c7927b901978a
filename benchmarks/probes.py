"""Time to train probes and the AUROC they reach, against the training loop of the paper's released code.

Both train on the same activations in one process, in turns, seed by seed. Times are CPU seconds of all cores, because
other work on the machine does not count in them. The difference in mean AUROC over the dev sets has a paired bootstrap
interval over records and seeds.

    python benchmarks/probes.py compare            (on the demo's activations, after dvc repro)
    python benchmarks/probes.py prepare --files FOLDER --stores FOLDER --rows 400 120 --max-tokens 512
    python benchmarks/probes.py compare --files FOLDER --stores FOLDER --families attention softmax mean
    python benchmarks/probes.py memory --tokens 1000000 --hidden 4096
"""

import argparse
import json
import resource
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from models_under_pressure.activations.ragged import USER, ArrayActivations
from models_under_pressure.activations.store import open_store
from models_under_pressure.evaluation.metrics import auroc
from models_under_pressure.params.lineage import load_lineage
from models_under_pressure.probes import descent
from models_under_pressure.probes.data import TrainingData, with_labels
from models_under_pressure.probes.families import FAMILIES
from models_under_pressure.probes.training import fit_probe, fit_probes
from models_under_pressure.records import Label, Record, read_records

TRAINING = "training/prompts_25_03_25_gpt-4o.jsonl"
DEV = {
    "anthropic": "evals/dev/anthropic_balanced_mar_21.jsonl",
    "mt": "evals/dev/mt_balanced_mar_17.jsonl",
    "mts": "evals/dev/mts_balanced_mar_21.jsonl",
    "toolace": "evals/dev/toolace_balanced_mar_21.jsonl",
}
LAYER = 16
PIPELINE = Path("data/activations/smollm2-135m")
"""Where `dvc repro` keeps the activations of the demo."""


def main() -> None:
    """Run one of the three."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["prepare", "compare", "memory"])
    parser.add_argument("--files", type=Path, help="folder of the original project's files; default: the demo's")
    parser.add_argument("--stores", type=Path, default=PIPELINE, help="folder of their activations")
    parser.add_argument("--rows", type=int, nargs=2, help="most rows of training and of each other set; default: all")
    parser.add_argument("--max-tokens", type=int, default=1024, help="most tokens of a row")
    parser.add_argument("--families", nargs="+", default=["attention", "softmax", "mean"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--most-epochs", type=int, default=200, help="cut the original's runs short")
    parser.add_argument("--out", type=Path, help="where to write the figures after every seed")
    parser.add_argument("--tokens", type=int, default=1_000_000)
    parser.add_argument("--hidden", type=int, default=4096)
    options = parser.parse_args()
    if options.what == "prepare":
        prepare(options)
    elif options.what == "compare":
        compare(options)
    else:
        memory(options.tokens, options.hidden)


def datasets(files: Path, rows: list[int] | None) -> dict[str, list[Record]]:
    """Labelled records of each set, ambiguous ones left out; `rows` takes a random part of each, by whole groups."""
    training = read_records(files / TRAINING)
    sets = {
        "train": [record for record in training if record.fields["split"] == "train"],
        "validation": [record for record in training if record.fields["split"] == "test"],
        **{name: read_records(files / file) for name, file in DEV.items()},
    }
    clear = {
        name: [record for record in records if record.label in (Label.HIGH, Label.LOW)]
        for name, records in sets.items()
    }
    return {name: part(records, rows[name != "train"]) if rows else records for name, records in clear.items()}


def part(records: list[Record], rows: int) -> list[Record]:
    """Records of random groups (dev sets have none, so records), until there are `rows`."""
    groups = sorted({record.group for record in records})
    place = {groups[group]: number for number, group in enumerate(np.random.default_rng(0).permutation(len(groups)))}
    return sorted(records, key=lambda record: place[record.group])[:rows]


def prepare(options: argparse.Namespace) -> None:
    """Extract what is not yet there."""
    from models_under_pressure.activations.config import ExtractConfig, ModelConfig
    from models_under_pressure.activations.extract import extract
    from models_under_pressure.activations.model import load_model

    model = load_model(ModelConfig(), layers=[LAYER])
    config = ExtractConfig(max_tokens=options.max_tokens)
    for name, records in datasets(options.files, options.rows).items():
        path = store_path(options.stores, name)
        extract(records, model=model, layers=[LAYER], config=config, paths={LAYER: path})


def store_path(stores: Path, name: str) -> Path:
    """Where the activations of a set are."""
    return stores / name / f"layer_{LAYER}.zarr"


def pipeline_datasets() -> dict[str, list[Record]]:
    """The training, validation and dev sets of this project's own pipeline."""
    return {
        name: read_records(Path(dataset.path))
        for name, dataset in load_lineage().datasets.items()
        if dataset.purpose in ("train", "validation", "dev")
    }


def load(options: argparse.Namespace) -> dict[str, TrainingData]:
    """Those rows of each set that were extracted, in memory, as the original's method needs it."""
    found = {}
    for name, records in (datasets(options.files, None) if options.files else pipeline_datasets()).items():
        store = open_store(store_path(options.stores, name))
        activations = ArrayActivations(
            store.read(0, int(store.offsets[-1])), store.offsets, store.ids, store.roles, store.attributes
        )
        extracted = set(store.ids)
        found[name] = with_labels(activations, [record for record in records if record.id in extracted])
    return found


def compare(options: argparse.Namespace) -> None:
    """Train both ways, and print the figures as JSON."""
    from reference_probe import Padded, score, train

    data = load(options)
    padded = {name: Padded(split) for name, split in data.items()}
    fit_probe(FAMILIES["mean"].config(), data["validation"], data["validation"], seed=0)  # imports are no training
    figures: dict[str, Any] = {}
    for family in options.families:
        runs: list[dict[str, Any]] = []
        logits: dict[str, list[dict[str, np.ndarray]]] = {"original": [], "ours": []}
        for seed in range(options.seeds):
            model, history = train(family, padded["train"], padded["validation"], seed, options.most_epochs)
            logits["original"].append({name: score(model, padded[name]) for name in dev_sets(data)})
            best = min(history, key=lambda epoch: epoch.validation_loss)
            ranked = max(history, key=lambda epoch: epoch.validation_auroc)
            ours, probe = timed_fit(family, data, seed, best.validation_loss, ranked.validation_auroc)
            logits["ours"].append({name: probe.decision_function(data[name].activations) for name in dev_sets(data)})
            runs.append(
                {
                    "original": {
                        **asdict(history[-1]),
                        "epochs": len(history),
                        "best_loss": asdict(best),
                        "best_auroc": asdict(ranked),
                    },
                    "ours": {**ours, **probe.metrics},
                    **{f"{way}_dev": means(data, scores[-1])["mean"] for way, scores in logits.items()},
                }
            )
            figures[family] = {"runs": runs, **summary(runs), **difference(data, logits)}
            if options.out:
                options.out.write_text(json.dumps(figures, indent=2))
    print(json.dumps({family: {k: v for k, v in found.items() if k != "runs"} for family, found in figures.items()}))


def timed_fit(
    family: str, data: Mapping[str, TrainingData], seed: int, loss: float, rank: float
) -> tuple[dict[str, Any], Any]:
    """Fit our probe; also say when it first reached a validation loss and AUROC, counted from before the first read."""
    reached: list[float] = []
    ranked: list[float] = []
    check = descent._check

    def watched(runs: Any, split: Any) -> Any:
        found = check(runs, split)
        if not reached and found[0]["validation_loss"] <= loss:
            reached.append(time.process_time() - cpu)
        if not ranked and found[0]["validation_auroc"] >= rank:
            ranked.append(time.process_time() - cpu)
        return found

    descent._check = watched
    cpu, wall = time.process_time(), time.perf_counter()
    try:
        probe = fit_probe(FAMILIES[family].config(), data["train"], data["validation"], seed=seed)
    finally:
        descent._check = check
    seconds = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
    held_out = data["validation"]
    final = float(descent.cross_entropy(probe.decision_function(held_out.activations), held_out.labels).mean())
    if not reached and final <= loss:  # a family with a solver has no epochs
        reached.append(seconds["cpu"])
    if not ranked and probe.metrics["validation_auroc"] >= rank:
        ranked.append(seconds["cpu"])
    times = {name: found[0] if found else None for name, found in (("cpu_to_loss", reached), ("cpu_to_auroc", ranked))}
    return {**seconds, **times, "validation_loss": final}, probe


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians over seeds; a time that ours never needed because it did not get there is left out, and counted."""

    def compared(original: list[float], ours: list[float | None]) -> dict[str, Any]:
        known = [value for value in ours if value is not None]
        medians = float(np.median(original)), float(np.median(known)) if known else None
        ratio = round(medians[0] / medians[1], 1) if medians[1] else None
        return {"original": medians[0], "ours": medians[1], "ours_got_there": len(known), "ratio": ratio}

    return {
        "cpu_seconds": compared([run["original"]["cpu"] for run in runs], [run["ours"]["cpu"] for run in runs]),
        **{
            f"cpu_seconds_to_the_original's_best_{name}": compared(
                [run["original"][f"best_{name}"]["cpu"] for run in runs],
                [run["ours"][f"cpu_to_{name}"] for run in runs],
            )
            for name in ("loss", "auroc")
        },
        **{f"dev_auroc_{way}": [round(run[f"{way}_dev"], 4) for run in runs] for way in ("original", "ours")},
    }


def dev_sets(data: Mapping[str, TrainingData]) -> list[str]:
    """Names of the sets that probes are judged on."""
    return [name for name in data if name not in ("train", "validation")]


def means(data: Mapping[str, TrainingData], logits: Mapping[str, np.ndarray]) -> dict[str, float]:
    """AUROC of each dev set, and their mean."""
    found = {name: auroc(logits[name], data[name].labels) for name in dev_sets(data)}
    return {**found, "mean": float(np.mean(list(found.values())))}


def difference(
    data: Mapping[str, TrainingData], logits: Mapping[str, list[dict[str, np.ndarray]]], resamples: int = 500
) -> dict[str, Any]:
    """Mean over seeds of the AUROC of each way, and ours minus the original's mean over dev sets.

    The interval of the difference is a paired bootstrap over records (within classes) and seeds.
    """
    seeds = range(len(logits["ours"]))
    point = {way: [means(data, run) for run in runs] for way, runs in logits.items()}
    average = {
        way: {name: round(float(np.mean([run[name] for run in runs])), 4) for name in (*dev_sets(data), "mean")}
        for way, runs in point.items()
    }
    generator = np.random.default_rng(0)
    found = []
    for _ in range(resamples):
        drawn = generator.choice(seeds, len(seeds))
        gaps = []
        for name in dev_sets(data):
            labels = data[name].labels
            classes = np.flatnonzero(labels), np.flatnonzero(~labels)
            rows = np.concatenate([generator.choice(own, len(own)) for own in classes])
            ours, original = (
                np.mean([auroc(logits[way][seed][name][rows], labels[rows]) for seed in drawn])
                for way in ("ours", "original")
            )
            gaps.append(ours - original)
        found.append(np.mean(gaps))
    low, high = np.quantile(found, [0.025, 0.975])
    gap = average["ours"]["mean"] - average["original"]["mean"]
    return {"auroc": average, "difference": [round(float(value), 4) for value in (gap, low, high)]}


class Generated:
    """Activations that are computed when read, so that only what the trainer keeps counts as memory."""

    attributes: Mapping[str, Any] = {}

    def __init__(self, tokens: int, hidden: int, length: int = 200) -> None:
        records = tokens // length
        self.hidden = hidden
        self.offsets = np.arange(records + 1) * length
        self.ids = [str(number) for number in range(records)]
        self.roles = np.full(records * length, USER, dtype=np.int8)
        self.labels = np.arange(records) % 2 == 0
        generator = np.random.default_rng(0)
        self._noise = generator.normal(size=(997, hidden)).astype(np.float32)
        self._direction = (generator.normal(size=hidden) * 0.05).astype(np.float32)

    def read(self, start: int, stop: int) -> np.ndarray:
        """Noise, and a lean along a direction by the record's label."""
        tokens = np.arange(start, stop)
        values = self._noise[tokens % len(self._noise)]
        values[tokens // 200 % 2 == 0] += self._direction
        return values


def memory(tokens: int, hidden: int) -> None:
    """Train an attention and a mean probe on data larger than memory, and print time, peak memory and AUROC."""
    splits = [
        TrainingData(found, found.labels, found.ids)
        for found in (Generated(tokens, hidden), Generated(tokens // 10, hidden))
    ]
    configs = {"attention": FAMILIES["attention"].config(epochs=2), "mean": FAMILIES["mean"].config()}
    start = time.perf_counter()
    probes = fit_probes(configs, splits[0], splits[1], seed=0)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    aurocs = {name: round(found[0].metrics["validation_auroc"], 4) for name, found in probes.items()}
    print(json.dumps({"seconds": round(time.perf_counter() - start, 1), "peak_gib": round(peak, 2), "auroc": aurocs}))


if __name__ == "__main__":
    main()
