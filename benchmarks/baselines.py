"""Every method on files of the original project, which are not part of this one: a table for docs/benchmarks.md.

    python benchmarks/baselines.py text probes finetuned prompted table --files FOLDER --work FOLDER

All are trained on the same prompts and score the same dev records, drawn as whole groups. The wording of the prompted
model is chosen on further records of each dev set, which count nowhere else. What is done is kept in the work folder.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from experiments import DEV, LAYER, SEED, TRAINING
from models_under_pressure.activations.config import EMBEDDED_MODEL, ExtractConfig, ModelConfig
from models_under_pressure.baselines.data import LabelledRecords
from models_under_pressure.baselines.finetuned.config import FinetuneConfig
from models_under_pressure.core.concept import load_concept
from models_under_pressure.core.files import stable_uniform, write_json
from models_under_pressure.core.records import Label, Record, read_records
from models_under_pressure.evaluation.differences import averaged_auroc
from models_under_pressure.evaluation.report import mean_estimate
from models_under_pressure.evaluation.scores import ScoreList, read_scores, write_scores

FINETUNED = FinetuneConfig(
    learning_rate=0.0001,
    decay_every=1,
    batch_size=8,
    batch_tokens=1024,
    epochs=2,
    blocks=14,
    trained_blocks=2,
    keep_states=True,
    pooling="mean",
    head="fitted",
    threads=1,
    max_tokens=96,
    truncation_side="left",
)
"""As in the default pipeline."""
MOST_ROWS = 100
"""Records of a dev set that may be scored; those for the choice of a wording come after them."""
METHODS = ("attention", "mean_logistic", "finetuned", "prompted", "tfidf_logistic", "tfidf_svm", "length")
CONTROL = "shuffled_labels"


class Files:
    """Parts of the files, drawn once."""

    def __init__(self, options: argparse.Namespace) -> None:
        training = read_records(options.files / TRAINING)
        self.train = _part("train", [one for one in training if one.fields["split"] == "train"], options.train_rows)
        self.validation = _part("validation", [one for one in training if one.fields["split"] == "test"], options.rows)
        whole = {name: read_records(options.files / file) for name, file in DEV.items()}
        self.dev = {name: _part(name, records, options.rows) for name, records in whole.items()}
        self.choosing = [
            _part(f"{name}_choosing", records, options.choosing, seen=_part(name, records, MOST_ROWS))
            for name, records in whole.items()
        ]


def main() -> None:
    """Score with some methods, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="+", choices=list(STEPS))
    parser.add_argument("--files", type=Path, required=True, help="folder of the original project's files")
    parser.add_argument("--work", type=Path, required=True, help="folder for activations and scores")
    parser.add_argument("--rows", type=int, default=MOST_ROWS, help="most records of each dev set and of validation")
    parser.add_argument("--train-rows", type=int, default=400, help="most training prompts")
    parser.add_argument("--choosing", type=int, default=25, help="further records of each dev set for the wording")
    parser.add_argument("--max-tokens", type=int, default=256, help="of a conversation, or of a prompt beside this")
    options = parser.parse_args()
    files = Files(options)
    for step in options.what:
        start = time.process_time()
        STEPS[step](files, options)
        print(f"({step}: {time.process_time() - start:.0f} CPU s)\n", flush=True)


def _part(name: str, records: list[Record], rows: int, seen: LabelledRecords | None = None) -> LabelledRecords:
    """At most `rows` labelled records, whole groups in a drawn order, none of them in a group already seen."""
    groups = set(seen.groups) | {record.text for record in seen.records} if seen else set()
    usable = [
        one
        for one in records
        if one.label in (Label.HIGH, Label.LOW) and one.group not in groups and one.text not in groups
    ]
    ordered = sorted(usable, key=lambda one: (stable_uniform("part", one.group), one.group, one.id))
    return LabelledRecords(name, tuple(sorted(ordered[:rows], key=lambda one: one.id)))


def _keep(options: argparse.Namespace, method: str, lists: dict[str, list[ScoreList]]) -> None:
    for name, found in lists.items():
        write_scores(options.work / "scores" / name / f"{method}.parquet", found)


def text(files: Files, options: argparse.Namespace) -> None:
    """Length, TF-IDF and the control."""
    from models_under_pressure.baselines.text import TextBaselineConfig, fit_text_monitors, score_texts

    monitors = fit_text_monitors(files.train, TextBaselineConfig(), seed=SEED)
    _keep(options, "text", {name: [score_texts(one, data) for one in monitors] for name, data in files.dev.items()})


def probes(files: Files, options: argparse.Namespace) -> None:
    """A mean-pooled logistic and an attention probe on layer 16."""
    from models_under_pressure.activations.extract import extract
    from models_under_pressure.activations.flops import probe_flops
    from models_under_pressure.activations.model import load_model
    from models_under_pressure.activations.store import open_store
    from models_under_pressure.probes.data import TrainingData
    from models_under_pressure.probes.families import FAMILIES
    from models_under_pressure.probes.training import fit_probes

    model = load_model(ModelConfig(), layers=[LAYER])
    held = {}
    for name, data in {"train": files.train, "validation": files.validation, **files.dev}.items():
        path = options.work / "stores" / name / f"layer_{LAYER}.zarr"
        config = ExtractConfig(max_tokens=options.max_tokens)
        extract(data.records, model=model, config=config, paths={LAYER: path})
        held[name] = TrainingData(open_store(path), data.labels, list(data.groups))
    configs = {name: FAMILIES[name].config() for name in ("attention", "mean_logistic")}
    fitted = fit_probes(configs, held["train"], held["validation"], seed=SEED)
    lists: dict[str, list[ScoreList]] = {}
    for name, data in files.dev.items():
        tokens = np.diff(held[name].activations.offsets)
        for kind, (probe, *_) in fitted.items():
            logits = probe.decision_function(held[name].activations)
            lists.setdefault(name, []).append(
                ScoreList(
                    dataset=name,
                    probe=kind,
                    seed=SEED,
                    ids=tuple(record.id for record in data.records),
                    groups=data.groups,
                    labels=data.labels,
                    logits=logits,
                    probabilities=probe.probabilities(logits),
                    tokens=tokens,
                    flops=probe_flops(probe.hidden, tokens, directions=probe.directions),
                )
            )
    _keep(options, "probes", lists)


def finetuned(files: Files, options: argparse.Namespace) -> None:
    """SmolLM2 with adapters."""
    from models_under_pressure.baselines.finetuned.run import Monitor, finetune

    config, folder = FINETUNED, options.work / "finetuned"
    finetune(folder, files.train, files.validation, config=config, seed=SEED, checkpoints=options.work / "checkpoints")
    monitor = Monitor(folder)
    print(json.loads((folder / "finetuned.json").read_text())["history"])
    _keep(options, "finetuned", {name: [monitor.score(data, "finetuned")] for name, data in files.dev.items()})


def prompted(files: Files, options: argparse.Namespace) -> None:
    """SmolLM2 asked, with the best of four wordings."""
    from models_under_pressure.baselines.prompted.run import PromptConfig, PromptedMonitor, choose_template, to_list

    config = PromptConfig(name=EMBEDDED_MODEL, max_tokens=options.max_tokens + 160)
    monitor = PromptedMonitor(config, options.work / "prompted", model=EMBEDDED_MODEL, concept=load_concept("stakes"))
    chosen, aurocs = choose_template(monitor.score, files.choosing, config.templates)
    write_json(options.work / "choice.json", {"chosen": chosen, "auroc": aurocs})
    print({name: round(float(np.mean(list(found.values()))), 3) for name, found in aurocs.items()}, chosen)
    scores = {
        name: [to_list(data, monitor.score(data, chosen), "prompted", seed=SEED)] for name, data in files.dev.items()
    }
    _keep(options, "prompted", scores)


def table(files: Files, options: argparse.Namespace) -> None:
    """AUROC with intervals, tokens and FLOPs per record."""
    found: dict[str, dict[str, list[ScoreList]]] = {}
    for name in files.dev:
        for path in sorted((options.work / "scores" / name).glob("*.parquet")):
            for scores in read_scores(path):
                found.setdefault(scores.probe, {}).setdefault(name, []).append(_of(files.dev[name], scores))
    print(f"{len(files.train.records)} training prompts; dev: " + _sizes(files))
    print("| method | mean | " + " | ".join(files.dev) + " | tokens | FLOPs |")
    print("|---" * (len(files.dev) + 4) + "|")
    for method in (*METHODS, CONTROL):
        if method not in found:
            continue
        estimates = [
            averaged_auroc([one.logits for one in lists], lists[0].labels, lists[0].groups)
            for lists in found[method].values()
        ]
        every = [one for lists in found[method].values() for one in lists]
        tokens = float(np.mean(np.concatenate([one.tokens for one in every])))
        flops = float(np.mean(np.concatenate([one.flops for one in every])))
        cells = [f"{one.value:.3f} [{one.low:.3f}, {one.high:.3f}]" for one in (mean_estimate(estimates), *estimates)]
        print(f"| {method} | " + " | ".join(cells) + f" | {tokens:.0f} | {flops:.1e} |")


def _of(data: LabelledRecords, scores: ScoreList) -> ScoreList:
    """The scores of these records: other methods may have scored fewer."""
    place = {id_: row for row, id_ in enumerate(scores.ids)}
    rows = [place[record.id] for record in data.records]
    assert scores.tokens is not None
    assert scores.flops is not None
    return replace(
        scores,
        ids=tuple(record.id for record in data.records),
        groups=data.groups,
        labels=data.labels,
        logits=scores.logits[rows],
        probabilities=scores.probabilities[rows],
        tokens=scores.tokens[rows],
        flops=scores.flops[rows],
    )


def _sizes(files: Files) -> str:
    return ", ".join(f"{name} {len(data.records)} ({data.labels.sum()} high)" for name, data in files.dev.items())


STEPS: dict[str, Callable[[Files, argparse.Namespace], None]] = {
    "text": text,
    "probes": probes,
    "finetuned": finetuned,
    "prompted": prompted,
    "table": table,
}


if __name__ == "__main__":
    main()
