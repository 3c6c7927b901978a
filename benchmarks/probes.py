"""Time to train probes and the AUROC they reach, against the training loop of the paper's released code.

Both train on the same activations in one process, in turns, seed by seed. Times are CPU seconds of all threads, because
other work on the machine does not count in them. The original's are the number of epochs of a whole run, times the
seconds of one epoch of its own padded loop, which is measured over a few; the whole run itself skips the padding, which
does not change what it learns (both print the losses of the same epochs). The difference in mean AUROC over the dev
sets has a paired bootstrap interval over records and seeds.

    python benchmarks/probes.py compare --keep FOLDER      (on the demo's activations, after dvc repro)
    python benchmarks/probes.py prepare --files FOLDER --stores FOLDER --dev-rows 150
    python benchmarks/probes.py compare --files FOLDER --stores FOLDER --keep FOLDER
"""

import argparse
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from probe_data import PIPELINE, load, prepare
from reference_probe import Epoch, Flat, Padded, score, train

from models_under_pressure.evaluation.metrics import auroc
from models_under_pressure.probes import descent
from models_under_pressure.probes.calibration import Sigmoid, cross_entropy, fit_calibration
from models_under_pressure.probes.data import TrainingData
from models_under_pressure.probes.families import FAMILIES
from models_under_pressure.probes.training import fit_probe, fit_probes

GOALS = ("loss", "calibrated_loss", "auroc")


def main() -> None:
    """Extract, or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["prepare", "compare"])
    parser.add_argument("--files", type=Path, help="folder of the original project's files; default: the demo's")
    parser.add_argument("--stores", type=Path, default=PIPELINE, help="folder of their activations")
    parser.add_argument("--sets", nargs="*", default=[], help="prepare these only")
    parser.add_argument("--dev-rows", type=int, help="most rows of each dev set; default: all")
    parser.add_argument("--max-tokens", type=int, default=1024, help="most tokens of a row")
    parser.add_argument("--families", nargs="+", default=["attention", "softmax", "mean"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--timed-epochs", type=int, default=2, help="of the padded loop, for each seed")
    parser.add_argument("--cut", type=int, help="train and validate on the first tokens of each row only")
    parser.add_argument(
        "--keep", type=Path, default=Path("probes-benchmark"), help="folder of finished seeds, which are not run again"
    )
    options = parser.parse_args()
    if options.what == "prepare":
        rows, most = options.dev_rows, options.max_tokens
        prepare(options.files, options.stores, dev_rows=rows, max_tokens=most, sets=options.sets)
        return
    options.keep.mkdir(parents=True, exist_ok=True)
    data = load(options.files, options.stores, cut=options.cut)
    fit_probe(FAMILIES["mean"].config(), data["validation"], data["validation"], seed=0)  # imports are no training
    for family in options.families:
        figures = compare(family, data, options.seeds, options.timed_epochs, options.keep)
        print(family, json.dumps(figures), flush=True)


def compare(family: str, data: Mapping[str, TrainingData], seeds: int, timed_epochs: int, keep: Path) -> dict[str, Any]:
    """Train a family both ways from each seed, in turns; then once more ours from all seeds together."""
    padded, padded_validation = Padded(data["train"]), Padded(data["validation"])
    flat = {name: Flat(split) for name, split in data.items()}
    runs: list[dict[str, Any]] = []
    logits: dict[str, list[dict[str, np.ndarray]]] = {"original": [], "ours": []}
    for seed in range(seeds):
        file = keep / f"{family}_{seed}.json"
        if not file.exists():
            model, history = train(family, flat["train"], flat["validation"], seed)
            _, timed = train(family, padded, padded_validation, seed, most=timed_epochs)
            history = as_padded(history, timed)
            ours, probe = timed_fit(family, data, seed, history)
            scores = {
                "original": {name: score(model, flat[name]).tolist() for name in dev_sets(data)},
                "ours": {name: probe.decision_function(data[name].activations).tolist() for name in dev_sets(data)},
            }
            run = {"original": original_times(history), "ours": {**ours, **probe.metrics}}
            file.write_text(json.dumps({"run": run, "logits": scores}))
        found = json.loads(file.read_text())
        runs.append(found["run"])
        for way, by_set in found["logits"].items():
            logits[way].append({name: np.array(values) for name, values in by_set.items()})
    cpu = time.process_time()
    fit_probes({family: FAMILIES[family].config(seeds=seeds)}, data["train"], data["validation"], seed=0)
    together = time.process_time() - cpu
    return {"all_seeds_together": round(together, 2), **summary(runs), **difference(data, logits)}


def as_padded(history: list[Epoch], timed: list[Epoch]) -> list[Epoch]:
    """The epochs of a run without padding, at the times that they would have had with it."""
    for one, other in zip(history, timed, strict=False):
        np.testing.assert_allclose(one.validation_loss, other.validation_loss, rtol=1e-3)
    seconds = timed[-1].cpu / len(timed)
    return [replace(epoch, cpu=seconds * number) for number, epoch in enumerate(history, 1)]


def original_times(history: list[Epoch]) -> dict[str, Any]:
    """CPU seconds of the whole run, and to its lowest validation loss and highest AUROC, with these."""
    lowest = min(history, key=lambda epoch: epoch.validation_loss)
    highest = max(history, key=lambda epoch: epoch.validation_auroc)
    return {
        **asdict(history[-1]),
        "epochs": len(history),
        "lowest_loss": lowest.validation_loss,
        "highest_auroc": highest.validation_auroc,
        "to_loss": lowest.cpu,
        "to_calibrated_loss": lowest.cpu,
        "to_auroc": highest.cpu,
    }


def timed_fit(
    family: str, data: Mapping[str, TrainingData], seed: int, history: list[Epoch]
) -> tuple[dict[str, Any], Any]:
    """Fit our probe; say after how many CPU seconds it had reached the original's lowest loss and highest AUROC."""
    aims = original_times(history)
    reached: dict[str, float] = {}
    watching = 0.0

    def watched(runs: Any, split: Any) -> Any:
        nonlocal watching
        found = check(runs, split)
        begin = time.process_time()
        for goal in goals_met(logits_of(runs[0].module, split), split.labels, aims):
            reached.setdefault(goal, begin - cpu - watching)
        watching += time.process_time() - begin
        return found

    check, descent._check = descent._check, watched
    cpu, wall = time.process_time(), time.perf_counter()
    try:
        probe = fit_probe(FAMILIES[family].config(), data["train"], data["validation"], seed=seed)
    finally:
        descent._check = check
    seconds = {"cpu": time.process_time() - cpu - watching, "wall": time.perf_counter() - wall}
    held_out = data["validation"]
    logits = probe.decision_function(held_out.activations)
    for goal in goals_met(logits, held_out.labels, aims):  # a family with a solver has no epochs
        reached.setdefault(goal, seconds["cpu"])
    return {**seconds, **{f"to_{goal}": reached.get(goal) for goal in GOALS}, **losses(logits, held_out.labels)}, probe


def losses(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Mean cross-entropy as it is, and after dividing by the best temperature (`calibration: temperature`)."""
    temperature = fit_calibration("temperature", logits, labels)
    assert isinstance(temperature, Sigmoid)
    return {
        "loss": float(cross_entropy(logits, labels).mean()),
        "calibrated_loss": float(cross_entropy(temperature.slope * logits, labels).mean()),
    }


@torch.no_grad()
def logits_of(module: Any, split: Any) -> np.ndarray:
    """What the directions of this epoch give the records of a split."""
    found = np.empty(len(split.labels))
    for batch in split.pools.epoch(None):
        found[batch.records] = module(batch.values, batch.segments).logits.numpy()
    return found


def goals_met(logits: np.ndarray, labels: np.ndarray, aims: Mapping[str, float]) -> list[str]:
    """Which of the original's best values these logits reach."""
    found = losses(logits, labels)
    met = [goal for goal, loss in found.items() if loss <= aims["lowest_loss"]]
    return met + ["auroc"] * (auroc(logits, labels) >= aims["highest_auroc"])


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians over seeds; a time that ours never needed because it did not get there is left out, and counted."""

    def compared(name: str) -> dict[str, Any]:
        known = [run["ours"][name] for run in runs if run["ours"][name] is not None]
        original = float(np.median([run["original"][name] for run in runs]))
        ours = float(np.median(known)) if known else None
        ratios = [run["original"][name] / run["ours"][name] for run in runs if run["ours"][name]]
        return {
            "original": round(original, 2),
            "ours": ours and round(ours, 3),
            "ours_got_there": len(known),
            "ratio": original / ours if ours else None,
            "ratios": [round(ratio, 1) for ratio in ratios],
        }

    epochs = {way: [run[way].get("epochs") for run in runs] for way in ("original", "ours")}
    kept = {name: float(np.median([run["ours"][name] for run in runs])) for name in ("loss", "calibrated_loss")}
    return {
        "epochs": epochs,
        "validation_loss": {"original": float(np.median([run["original"]["lowest_loss"] for run in runs])), **kept},
        **{name: compared(name) for name in ("cpu", *(f"to_{goal}" for goal in GOALS))},
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


if __name__ == "__main__":
    main()
