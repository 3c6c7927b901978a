"""AUROC of a mean probe on activations in float32, rounded to bfloat16 when stored, and computed in bfloat16.

Run it on any labelled files:

    python benchmarks/precision.py --train train.jsonl --test dev.jsonl
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np

from models_under_pressure.activations.config import ExtractConfig, ModelConfig
from models_under_pressure.activations.extract import extract
from models_under_pressure.activations.model import load_model
from models_under_pressure.activations.store import open_store
from models_under_pressure.core.records import Label, Record, read_records

VARIANTS = {
    "float32": ("float32", "mean"),
    "float32, stored in bfloat16": ("float32", "tokens"),
    "bfloat16, stored in bfloat16": ("bfloat16", "tokens"),
}
"""Name -> (precision of the forward pass, what is kept: means stay in float32)."""


def main() -> None:
    """Measure and print JSON."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    options = _options()
    sets = {path.stem: _labelled(path, options.records) for path in (options.train, *options.test)}
    report: dict[str, dict[str, float]] = {}
    for name, (dtype, keep) in VARIANTS.items():
        model = load_model(ModelConfig(dtype=dtype), layers=[options.layer])
        means = {stem: _means(records, model, options.layer, keep) for stem, records in sets.items()}
        probe = make_pipeline(StandardScaler(), LogisticRegression(C=1e-3, max_iter=1000))
        probe.fit(means[options.train.stem], _targets(sets[options.train.stem]))
        report[name] = {
            stem: round(float(roc_auc_score(_targets(sets[stem]), probe.decision_function(means[stem]))), 5)
            for stem in sets
            if stem != options.train.stem
        }
    counts = {stem: len(records) for stem, records in sets.items()}
    print(json.dumps({"layer": options.layer, "records": counts, "auroc": report}, indent=2))


def _labelled(path: Path, count: int) -> list[Record]:
    """The first records that are high or low, under ids in the order of the file."""
    found = [record for record in read_records(path) if record.label in (Label.HIGH, Label.LOW)][:count]
    return [Record(f"{index:06}", record.input, label=record.label) for index, record in enumerate(found)]


def _targets(records: list[Record]) -> np.ndarray:
    return np.array([record.label == Label.HIGH for record in records])


def _means(records: list[Record], model: object, layer: int, keep: str) -> np.ndarray:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "store.zarr"
        config = ExtractConfig(keep=keep, max_tokens=512)
        extract(records, model=model, config=config, paths={layer: path})
        store = open_store(path)
        if keep != "tokens":
            return store.read(0, len(records))
        return np.stack([store.record(index).mean(axis=0) for index in range(len(records))])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--test", type=Path, nargs="+", required=True)
    parser.add_argument("--records", type=int, default=300, help="of each file")
    parser.add_argument("--layer", type=int, default=16)
    return parser.parse_args()


if __name__ == "__main__":
    main()
