"""Probe families, several layers and ensembles on parts of the original project's files, against the attention probe.

Every probe is fitted from several seeds, on the same activations; the difference in mean AUROC over the dev sets has a
paired interval over records and seeds (`evaluation.differences`). Seconds are CPU time of a fit of all seeds together.

    python benchmarks/families.py extract --files FOLDER --stores FOLDER
    python benchmarks/families.py compare --files FOLDER --stores FOLDER --layers 16
    python benchmarks/families.py compare --files FOLDER --stores FOLDER --layers 11,16,21 --probes mean attention
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from probe_data import DEV, datasets

from models_under_pressure.activations.layers import open_layers
from models_under_pressure.core.records import Record
from models_under_pressure.evaluation.differences import averaged_auroc, averaged_difference, mean_difference
from models_under_pressure.probes.data import TrainingData, in_memory, with_labels
from models_under_pressure.probes.families import FAMILIES
from models_under_pressure.probes.probe import score_together
from models_under_pressure.probes.training import fit_probes

LAYERS = (11, 16, 21)
REFERENCE, BASE = "attention", 16
"""What every method is compared with: the paper's probe, on one layer."""
ENSEMBLE = "attention_ensemble"
"""The mean logit of the reference's seeds."""


def main() -> None:
    """Extract, or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["extract", "compare"])
    parser.add_argument("--files", type=Path, required=True, help="folder of the original project's files")
    parser.add_argument("--stores", type=Path, required=True, help="folder of their activations")
    parser.add_argument("--rows", type=int, default=400, help="training rows, in whole groups; half as many validate")
    parser.add_argument("--dev-rows", type=int, default=80, help="rows of each dev set")
    parser.add_argument("--max-tokens", type=int, default=192, help="most tokens of a row")
    parser.add_argument("--layers", default="16", help="layers that the probes read side by side")
    parser.add_argument(
        "--probes", nargs="*", default=[*FAMILIES, ENSEMBLE], help="families; default: all, at defaults"
    )
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    parts = chosen(options.files, options.rows, options.dev_rows)
    if options.what == "extract":
        return extract(parts, options.stores, options.max_tokens)
    layers = [int(layer) for layer in options.layers.split(",")]
    base, data = (
        {name: labelled(rows, options.stores, name, own) for name, rows in parts.items()} for own in ([BASE], layers)
    )
    print("| probe | layers | parameters | CPU s | mean dev AUROC | minus attention |", " | ".join(DEV), "|")
    print("|---" * (6 + len(DEV)) + "|")
    reference = fitted(REFERENCE, base, options.seeds)
    show(f"{REFERENCE} | {BASE}", reference, reference, base)
    for name in sorted(set(options.probes) - ({REFERENCE} if layers == [BASE] else set())):
        show(f"{name} | {', '.join(map(str, layers))}", fitted(name, data, options.seeds), reference, base)


def chosen(files: Path, rows: int, dev_rows: int) -> dict[str, list[Record]]:
    """A part of each set: whole groups of the training and validation prompts, random rows of the dev sets."""
    sets = datasets(files, dev_rows)
    return {**sets, "train": groups(sets["train"], rows), "validation": groups(sets["validation"], rows // 2)}


def groups(records: Sequence[Record], rows: int) -> list[Record]:
    """Records of random groups, until there are so many."""
    names = np.random.default_rng(0).permutation(sorted({record.group for record in records}))
    rank = {name: number for number, name in enumerate(names)}
    return sorted(records, key=lambda record: (rank[record.group], record.id))[:rows]


def extract(parts: dict[str, list[Record]], stores: Path, max_tokens: int) -> None:
    """Run the model once over each set and keep what enters each of LAYERS."""
    from models_under_pressure.activations.config import ExtractConfig, ModelConfig
    from models_under_pressure.activations.extract import extract as extraction
    from models_under_pressure.activations.model import load_model

    model = load_model(ModelConfig(), layers=[max(LAYERS)])
    config = ExtractConfig(max_tokens=max_tokens)
    for name, records in parts.items():
        paths = {layer: stores / name / f"layer_{layer}.zarr" for layer in LAYERS}
        extraction(records, model=model, config=config, paths=paths)


def labelled(records: Sequence[Record], stores: Path, name: str, layers: Sequence[int]) -> TrainingData:
    """Activations in memory, with labels and groups."""
    found = open_layers([stores / name / f"layer_{layer}.zarr" for layer in layers])
    return with_labels(in_memory(found, most_gib=8), records)


@dataclass(frozen=True)
class Fit:
    """A method, fitted from its seeds."""

    parameters: int
    seconds: float
    """CPU time."""
    logits: list[list[np.ndarray]]
    """Of each dev set, one list per seed; of an ensemble, their mean."""


def fitted(name: str, data: dict[str, TrainingData], seeds: int) -> Fit:
    """Fit a family, or the ensemble of one, from its seeds, and score the dev sets."""
    config = FAMILIES[name.removesuffix("_ensemble")].config(seeds=seeds)
    begin = time.process_time()
    probes = fit_probes({name: config}, data["train"], data["validation"], seed=0)[name]
    seconds = time.process_time() - begin
    logits = [score_together(probes, data[one].activations) for one in DEV]
    if name == ENSEMBLE:
        return Fit(sum(probe.parameters for probe in probes), seconds, [[np.mean(own, axis=0)] for own in logits])
    return Fit(probes[0].parameters, seconds, logits)


def show(name: str, fit: Fit, reference: Fit, data: dict[str, TrainingData]) -> None:
    """Print a row: the mean AUROC over seeds and dev sets, less the reference's, and that of each dev set."""
    sets = [data[one] for one in DEV]
    cells = [averaged_auroc(own, one.labels, one.groups).value for own, one in zip(fit.logits, sets, strict=True)]
    pairs = zip(reference.logits, fit.logits, sets, strict=True)
    gap = mean_difference([averaged_difference(base, own, one.labels, one.groups) for base, own, one in pairs])
    told = "" if fit is reference else f"{gap.value:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]"
    mean, shown = float(np.mean(cells)), " | ".join(f"{cell:.3f}" for cell in cells)
    print(f"| {name} | {fit.parameters:,} | {fit.seconds:.1f} | {mean:.3f} | {told} | {shown} |", flush=True)


if __name__ == "__main__":
    main()
