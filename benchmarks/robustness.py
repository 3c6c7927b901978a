"""Probes under changes of conversations that keep their stakes, on the original project's dev files.

Two steps: `benchmarks/probes.py prepare --files FILES --stores STORES --sets train validation` extracts the training
and validation prompts; this script fits the probes of params.yaml on them, and lets the model read changed dev
conversations.

Example: python benchmarks/robustness.py --files FILES --stores STORES --records 5 --most-tokens 768 --output rows.jsonl
"""

import argparse
import sys
from pathlib import Path

from models_under_pressure.activations.config import ExtractConfig, ModelConfig
from models_under_pressure.activations.model import load_model
from models_under_pressure.activations.store import open_store
from models_under_pressure.baselines.data import LabelledRecords
from models_under_pressure.core.files import write_jsonl
from models_under_pressure.core.section import EXPERIMENTS, read
from models_under_pressure.datasets.wrapping import shipped_benign
from models_under_pressure.evaluation.report import EvaluateConfig
from models_under_pressure.experiments.measure_robustness import MeasureRobustness, run
from models_under_pressure.experiments.shared.panel import fit_panel
from models_under_pressure.experiments.shared.samples import check_unseen
from models_under_pressure.experiments.shared.sets import MEMORY_GIB, LabelledSet
from models_under_pressure.experiments.shared.setting import Setting
from models_under_pressure.probes.data import in_memory, with_labels
from models_under_pressure.probes.families import TrainConfig

sys.path.insert(0, str(Path(__file__).parent))
from probe_data import DEV, LAYER, datasets, store_path

SEED = 42


def main() -> None:
    """Write the rows of `measure_robustness`, with its settings in experiments/params.yaml and no paraphrases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=Path, required=True, help="folder with the original project's files")
    parser.add_argument("--stores", type=Path, required=True, help="folder of the activations that were prepared")
    parser.add_argument("--records", type=int, default=5, help="records of each class and dataset")
    parser.add_argument("--most-tokens", type=int, default=768, help="of a changed conversation")
    parser.add_argument("--output", type=Path, required=True, help="JSON Lines file of rows")
    options = parser.parse_args()
    config = read("measure_robustness", MeasureRobustness, EXPERIMENTS)
    config = config.model_copy(update={"records": options.records, "max_tokens": options.most_tokens})
    records = datasets(options.files)
    sets = []
    for name in ("train", "validation"):
        store = open_store(store_path(options.stores, name))
        by_id = {record.id: record for record in records[name]}
        own = [by_id[id_] for id_ in store.ids if id_ in by_id]
        sets.append(LabelledSet(name, name, with_labels(in_memory(store, MEMORY_GIB), own), own))
    dev = [LabelledRecords(name, tuple(sorted(records[name], key=lambda record: record.id))) for name in DEV]
    for one in dev:
        check_unseen(sets, one)
    probes = read("train", TrainConfig).probes | config.probes
    model, extract = load_model(ModelConfig(), layers=[LAYER]), ExtractConfig(stored="float32")
    panel = fit_panel(probes, Setting(*sets, seed=SEED), model, extract, shuffles=config.shuffles)
    settings = {"benign": shipped_benign(), "seed": SEED, "evaluate": EvaluateConfig(resamples=2000)}
    write_jsonl(options.output, run(config, panel, dev, paraphrases=Path("none.jsonl"), **settings))


if __name__ == "__main__":
    main()
