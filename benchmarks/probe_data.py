"""The activations that probes are compared on: parts of the original project's files, or the demo's own pipeline."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models_under_pressure.activations.ragged import ArrayActivations
from models_under_pressure.activations.store import open_store
from models_under_pressure.core.paths import datasets_in_use
from models_under_pressure.core.records import Label, Record, read_records
from models_under_pressure.probes.data import TrainingData, with_labels

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


def datasets(files: Path, dev_rows: int | None = None) -> dict[str, list[Record]]:
    """Labelled records of each set, ambiguous ones left out; `dev_rows` takes a random part of each dev set."""
    training = read_records(files / TRAINING)
    sets = {
        "train": [record for record in training if record.fields["split"] == "train"],
        "validation": [record for record in training if record.fields["split"] == "test"],
        **{name: part(read_records(files / file), dev_rows) for name, file in DEV.items()},
    }
    return {
        name: [record for record in records if record.label in (Label.HIGH, Label.LOW)]
        for name, records in sets.items()
    }


def part(records: list[Record], rows: int | None) -> list[Record]:
    """Random records, at most so many."""
    order = np.random.default_rng(0).permutation(len(records))
    return [records[row] for row in order[:rows]]


def prepare(files: Path, stores: Path, *, dev_rows: int | None, max_tokens: int, sets: Sequence[str]) -> None:
    """Extract what is not yet there; of all sets when none is named."""
    from models_under_pressure.activations.config import ExtractConfig, ModelConfig
    from models_under_pressure.activations.extract import extract
    from models_under_pressure.activations.model import load_model

    model = load_model(ModelConfig(), layers=[LAYER])
    config = ExtractConfig(max_tokens=max_tokens)
    for name, records in datasets(files, dev_rows).items():
        if not sets or name in sets:
            extract(records, model=model, config=config, paths={LAYER: store_path(stores, name)})


def store_path(stores: Path, name: str) -> Path:
    """Where the activations of a set are: in the pipeline's folder of the layer, or in one of their own."""
    made = sorted(stores.glob(f"layer_{LAYER}/*/{name}.zarr"))
    return made[0] if made else stores / name / f"layer_{LAYER}.zarr"


def pipeline_datasets() -> dict[str, list[Record]]:
    """The training, validation and dev sets of this project's own pipeline."""
    return {one.name: read_records(one.path) for one in datasets_in_use("train", "validation", "dev")}


def load(files: Path | None, stores: Path, *, cut: int | None = None) -> dict[str, TrainingData]:
    """Those rows of each set that were extracted, in memory, as the original's method needs it.

    With `cut`, the first tokens of each row of the training and validation sets: the same as extracting cut rows, since
    no token sees those after it.
    """
    found = {}
    for name, records in (datasets(files) if files else pipeline_datasets()).items():
        if name in DEV and not store_path(stores, name).exists():
            continue  # not prepared
        store = open_store(store_path(stores, name))
        lengths = np.diff(store.offsets)
        kept = np.minimum(lengths, cut) if cut and name in ("train", "validation") else lengths
        own = np.arange(int(store.offsets[-1])) - np.repeat(store.offsets[:-1], lengths) < np.repeat(kept, lengths)
        activations = ArrayActivations(
            store.read(0, len(own))[own], np.cumsum([0, *kept]), store.ids, store.roles[own], store.attributes
        )
        extracted = set(store.ids)
        found[name] = with_labels(activations, [record for record in records if record.id in extracted])
    return found
