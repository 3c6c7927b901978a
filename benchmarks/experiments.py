"""The experiments on files of the original project, which are not part of this one: tables for docs/benchmarks.md.

    python benchmarks/experiments.py extract --files FOLDER --work FOLDER --rows 400 --max-tokens 256
    python benchmarks/experiments.py run --files FOLDER --work FOLDER --rows 400 --max-tokens 256

Of the dev sets there are no test sets among the files: each is halved, by text, into `dev` and `test`.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models_under_pressure.activations.store import open_store
from models_under_pressure.core.files import stable_uniform, write_json
from models_under_pressure.core.records import Label, Record, read_records
from models_under_pressure.experiments import (
    choose_layer,
    compare_probes,
    measure_data_efficiency,
    measure_generalisation,
    train_on_dev,
)
from models_under_pressure.experiments.layers import to_table
from models_under_pressure.experiments.shared.sets import MEMORY_GIB, LabelledSet, take
from models_under_pressure.experiments.shared.setting import Setting
from models_under_pressure.figures.by_size import prompts_chart, samples_chart
from models_under_pressure.figures.compare import layers_chart, probes_chart
from models_under_pressure.figures.measure_generalisation import chart as generalisation_figure
from models_under_pressure.figures.render import write_chart
from models_under_pressure.probes.data import TrainingData, in_memory
from models_under_pressure.probes.families import FAMILIES

TRAINING = "training/prompts_25_03_25_gpt-4o.jsonl"
DEV = {
    "anthropic": "evals/dev/anthropic_balanced_mar_21.jsonl",
    "mt": "evals/dev/mt_balanced_mar_17.jsonl",
    "mts": "evals/dev/mts_balanced_mar_21.jsonl",
    "toolace": "evals/dev/toolace_balanced_mar_21.jsonl",
}
LAYER = 16
LAYERS = (4, 8, 12, 16, 20, 24)
SEED = 42
ATTENTION = FAMILIES["attention"].config(epochs=60, patience=15)


def main() -> None:
    """Extract, or run the experiments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["extract", "run"])
    parser.add_argument("--files", type=Path, required=True, help="folder of the original project's files")
    parser.add_argument("--work", type=Path, required=True, help="folder for activations, results and figures")
    parser.add_argument("--rows", type=int, help="most training prompts, twice those of other sets; all by default")
    parser.add_argument("--max-tokens", type=int, default=1024, help="most tokens of a row")
    parser.add_argument("--only", nargs="+", default=list(EXPERIMENTS), choices=list(EXPERIMENTS))
    options = parser.parse_args()
    if options.what == "extract":
        extract_all(options)
    else:
        for name in options.only:
            start = time.process_time()
            EXPERIMENTS[name](options)
            print(f"({name}: {time.process_time() - start:.0f} CPU s)\n", flush=True)


def datasets(files: Path, rows: int | None) -> dict[str, list[Record]]:
    """Labelled records of each set, ambiguous ones left out.

    `rows` takes a random part of the training prompts, by groups, and half as many records of each other set.
    """
    training = read_records(files / TRAINING)
    sets = {
        "train": [record for record in training if record.fields["split"] == "train"],
        "validation": [record for record in training if record.fields["split"] == "test"],
        **{name: read_records(files / file) for name, file in DEV.items()},
    }
    most = {name: rows if name == "train" or rows is None else rows // 2 for name in sets}
    return {name: _part(_usable(records), most[name]) for name, records in sets.items()}


def _usable(records: Sequence[Record]) -> list[Record]:
    return [record for record in records if record.label in (Label.HIGH, Label.LOW)]


def _part(records: list[Record], rows: int | None) -> list[Record]:
    ordered = sorted(records, key=lambda record: (stable_uniform(record.group), record.group, record.id))
    return sorted(ordered[:rows], key=lambda record: record.id)


def extract_all(options: argparse.Namespace) -> None:
    """One pass per set: the training prompts at every layer, the others at one."""
    from models_under_pressure.activations.config import ExtractConfig, ModelConfig
    from models_under_pressure.activations.extract import extract
    from models_under_pressure.activations.model import load_model

    model = load_model(ModelConfig(), layers=[max(LAYERS)])
    config = ExtractConfig(max_tokens=options.max_tokens)
    for name, records in datasets(options.files, options.rows).items():
        layers = LAYERS if name == "train" else (LAYER,)
        paths = {layer: _store(options, name, layer) for layer in layers}
        start = time.monotonic()
        extract(records, model=model, config=config, paths=paths)
        print(f"{name}: {len(records)} records, {time.monotonic() - start:.0f} s", flush=True)


def _store(options: argparse.Namespace, name: str, layer: int) -> Path:
    return options.work / "stores" / name / f"layer_{layer}.zarr"


def load(options: argparse.Namespace, name: str, layer: int = LAYER) -> LabelledSet:
    """One set with its activations in memory."""
    records = {record.id: record for record in datasets(options.files, options.rows)[name]}
    activations: Any = open_store(_store(options, name, layer))
    ordered = [records[id_] for id_ in activations.ids]
    labels = np.array([record.is_high for record in ordered])
    purpose = name if name in ("train", "validation") else "dev"
    held = in_memory(activations, MEMORY_GIB)
    return LabelledSet(name, purpose, TrainingData(held, labels, [record.group for record in ordered]), ordered)


def setting(options: argparse.Namespace, tested: Sequence[LabelledSet]) -> Setting:
    """The training prompts, and what is tested."""
    return Setting(load(options, "train"), load(options, "validation"), tested, seed=SEED)


def halves(whole: LabelledSet) -> tuple[LabelledSet, LabelledSet]:
    """A dev and a test part; by text, because the same one can stand under two ids (it does in the MT file)."""
    in_dev = np.array([stable_uniform("half", record.text) < 0.5 for record in whole.records])
    dev, test = (take(whole, np.flatnonzero(chosen)) for chosen in (in_dev, ~in_dev))
    return _named(dev, f"{whole.name}_dev", "dev"), _named(test, f"{whole.name}_test", "test")


def _named(one: LabelledSet, name: str, purpose: str) -> LabelledSet:
    return LabelledSet(name, purpose, one.data, one.records)


def _write(options: argparse.Namespace, name: str, found: Any, chart: Any) -> None:
    write_json(options.work / f"{name}.json", found)
    write_chart(chart, options.work / "figures" / f"{name}.json", pictures=True)


def _cell(row: dict[str, Any]) -> str:
    return f"{row['auroc']:.3f} [{row['auroc_low']:.3f}, {row['auroc_high']:.3f}]"


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    print("\n".join("| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *lines)), flush=True)


def probes(options: argparse.Namespace) -> None:
    """Experiment 1."""
    config = compare_probes.CompareProbes(seeds=3, probes={name: one.config() for name, one in FAMILIES.items()})
    tested = [load(options, name) for name in DEV]
    rows = compare_probes.run(config, setting(options, tested))
    _write(options, "compare_probes", rows, probes_chart(rows))
    means = sorted((row for row in rows if row["dataset"] == "mean"), key=lambda row: -row["auroc"])
    lines = []
    for mean in means:
        own = [row for row in rows if row["probe"] == mean["probe"] and row["dataset"] != "mean"]
        lines.append([mean["probe"], _cell(mean), *(_cell(row) for row in own)])
    _table(["probe", "mean", *(f"{one.name} (n = {len(one.records)})" for one in tested)], lines)


def layers(options: argparse.Namespace) -> None:
    """Experiment 2."""
    probe = FAMILIES["mean_logistic"].config()
    rows = choose_layer.run({layer: load(options, "train", layer) for layer in LAYERS}, probe, folds=5, seed=SEED)
    found = {"layer": choose_layer.pick(rows, "best"), "rule": "best", "probe": probe.family, "layers": rows}
    _write(options, "choose_layer", found, layers_chart(found))
    print(to_table(rows, found["layer"]), end="")
    print(f"one_standard_error would choose {choose_layer.pick(rows, 'one_standard_error')}")


def dev_samples(options: argparse.Namespace) -> None:
    """Experiment 5."""
    config = train_on_dev.TrainOnDev(
        modes=("only", "combine", "fine_tune"),
        sizes=(2, 8, 32),
        repeats=3,
        copies=5,
        epochs=20,
        learning_rate=0.005,
        probe=ATTENTION,
    )
    rows = train_on_dev.run(config, setting(options, [half for name in DEV for half in halves(load(options, name))]))
    _write(options, "train_on_dev", rows, samples_chart(rows))
    sizes = sorted({row["size"] for row in rows if row["size"]})
    names = list(dict.fromkeys(row["dataset"] for row in rows))
    lines = []
    for name in names:
        by_key = {(row["mode"], row["size"]): row for row in rows if row["dataset"] == name}
        lines.append([name, "initial", _cell(by_key["initial", 0]), *["" for _ in sizes[1:]]])
        for mode in ("only", "combine", "fine_tune"):
            lines.append([name, mode, *(_cell(by_key[mode, size]) if (mode, size) in by_key else "" for size in sizes)])
    _table(["tested on", "mode", *(f"{size} samples" for size in sizes)], lines)


def efficiency(options: argparse.Namespace) -> None:
    """Experiment 6."""
    configs = {
        "attention": ATTENTION,
        "softmax": FAMILIES["softmax"].config(epochs=60),
        "mean_logistic": FAMILIES["mean_logistic"].config(),
    }
    config = measure_data_efficiency.MeasureDataEfficiency(sizes=(4, 16, 64), repeats=3, probes=configs)
    rows = measure_data_efficiency.run(config, setting(options, [load(options, name) for name in DEV]))
    _write(options, "data_efficiency", rows, prompts_chart(rows))
    means = {(row["method"], row["size"]): row for row in rows if row["dataset"] == "mean"}
    sizes = sorted({size for _, size in means})
    _table(
        ["probe", *(f"{size:,}" for size in sizes)],
        [[name, *(_cell(means[name, size]) for size in sizes)] for name in configs],
    )


def generalisation(options: argparse.Namespace) -> None:
    """Experiment 9."""
    config = measure_generalisation.MeasureGeneralisation(
        attributes=("prompt_style", "tone", "language", "length"),
        least=3,
        probe=FAMILIES["attention"].config(epochs=10, seeds=2),
    )
    rows = measure_generalisation.run(config, setting(options, []))
    _write(options, "generalisation", rows, generalisation_figure(rows))
    for attribute in dict.fromkeys(row["attribute"] for row in rows):
        part = [row for row in rows if row["attribute"] == attribute]
        tested = list(dict.fromkeys(row["tested_on"] for row in part))
        cells = {(row["trained_on"], row["tested_on"]): row for row in part}
        lines = [
            [f"{value} ({cells[value, tested[0]]['n_train']})"]
            + [_cell(cells[value, other]) if "auroc" in cells[value, other] else "–" for other in tested]
            for value in dict.fromkeys(row["trained_on"] for row in part)
        ]
        _table([f"{attribute}: trained on (n)", *tested], lines)
        print()


EXPERIMENTS: dict[str, Callable[[argparse.Namespace], None]] = {
    "probes": probes,
    "layers": layers,
    "dev_samples": dev_samples,
    "efficiency": efficiency,
    "generalisation": generalisation,
}


if __name__ == "__main__":
    main()
