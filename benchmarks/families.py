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
REFERENCE = "attention"
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
    compare({name: labelled(rows, options.stores, name, layers) for name, rows in parts.items()}, options)


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


def compare(data: dict[str, TrainingData], options: argparse.Namespace) -> None:
    """Fit each probe from its seeds and print a row of a table for it."""
    print("| probe | parameters | CPU s | mean dev AUROC | minus attention |", *map(str, DEV), "", sep=" | ")
    reference: list[list[np.ndarray]] = []
    for name in sorted({REFERENCE, *options.probes}, key=lambda name: (name != REFERENCE, name)):
        probe = FAMILIES[name.removesuffix("_ensemble")].config(seeds=options.seeds)
        begin = time.process_time()
        fitted = fit_probes({name: probe}, data["train"], data["validation"], seed=0)[name]
        seconds = time.process_time() - begin
        logits = [score_together(fitted, data[one].activations) for one in DEV]
        if name == ENSEMBLE:
            logits = [[np.mean(own, axis=0)] for own in logits]
        reference = reference or logits
        cells = [averaged_auroc(own, data[one].labels, data[one].groups) for one, own in zip(DEV, logits, strict=True)]
        gap = mean_difference(
            [
                averaged_difference(base, own, data[one].labels, data[one].groups)
                for one, own, base in zip(DEV, logits, reference, strict=True)
            ]
        )
        mean = float(np.mean([cell.value for cell in cells]))
        told = "" if name == REFERENCE else f"{gap.value:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]"
        shown = " | ".join(f"{cell.value:.3f}" for cell in cells)
        print(f"| {name} | {fitted[0].parameters:,} | {seconds:.1f} | {mean:.3f} | {told} | {shown} |", flush=True)


if __name__ == "__main__":
    main()
