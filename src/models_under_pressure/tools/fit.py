"""Fit probes on a table of labelled text and measure them on others, without DVC or params.yaml."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from models_under_pressure.tools._import import Group, Id, LabelColumn, Messages, Positive, Text
from models_under_pressure.tools._tables import Table, read_tables

if TYPE_CHECKING:
    from models_under_pressure.activations.config import ModelConfig
    from models_under_pressure.evaluation.scores import ScoreList
    from models_under_pressure.probes.probe import Probe
    from models_under_pressure.probes.weights import RecordWeights

FOLDS = 5
"""Parts of the training records in cross-validation; one of them is held out for thresholds and epochs."""
_FEW = 200
"""Training records below which the text floor also counts words that occur once."""


@dataclass(frozen=True)
class Fitted:
    """What was fitted, and where."""

    chosen: tuple[int, ...]
    """Layers that the probes read."""
    layers: Mapping[int, float]
    """Layer -> cross-validated AUROC on the training records; empty where the layers were given."""
    probes: Mapping[str, "Probe"]
    scores: Sequence["ScoreList"]
    """Of every evaluation file: the probes, then the text monitors."""
    held_out: int
    """Training records that thresholds and epochs come from."""


def command(
    train: Annotated[str, typer.Argument(help="Labelled table to fit on: whatever `mup datasets import` reads.")],
    evaluate: Annotated[list[str], typer.Argument(help="Labelled tables to measure on.")],
    model: Annotated[str, typer.Option(help="Short name from params.yaml, Hugging Face id, or local path.")] = (
        "smollm2-135m"
    ),
    adapter: Annotated[str | None, typer.Option(help="PEFT adapter: local folder, or Hugging Face id[@revision].")] = (
        None
    ),
    layer: Annotated[
        str,
        typer.Option(
            "--layer",
            "--layers",
            help="Decoder block, from 0, or several: 11,16; -1: what leaves the last; auto cross-validates all but 0.",
        ),
    ] = "auto",
    probes: Annotated[str, typer.Option(help="Probe families, with commas between.")] = "mean_logistic",
    out: Annotated[Path, typer.Option(help="Folder of the probes.")] = Path("fitted"),
    text: Text = None,
    messages: Messages = None,
    label: LabelColumn = None,
    positive: Positive = None,
    id_: Id = None,
    group: Group = None,
    balance: Annotated[bool, typer.Option("--balance", help="Let both classes count the same in training.")] = False,
    weight: Annotated[
        list[str] | None, typer.Option(help="COLUMN:VALUE=NUMBER: what such training rows count; repeatable.")
    ] = None,
    allow_refused: Annotated[bool, typer.Option(help="Leave out rows that cannot be used.")] = False,
    max_tokens: Annotated[int, typer.Option(help="Longest conversation; longer ones are cut and named.")] = 8192,
    seed: Annotated[int, typer.Option(help="Seed of folds, probes and intervals.")] = 42,
) -> None:
    """Fit probes on one table, measure them on others beside the text floor, and save them.

    Example: mup fit train.csv test.csv --positive harmful

    Example: mup fit train.csv test.csv --model Qwen/Qwen2.5-0.5B-Instruct --layer 12 --probes mean_logistic,attention

    Example: mup fit tables/ test.csv --adapter ./lora --layer -1 --balance --weight source_dataset:forum=2
    """
    from models_under_pressure.activations.config import ModelConfig, adapter_fields
    from models_under_pressure.core.section import model_aliases
    from models_under_pressure.datasets.columns import Asked
    from models_under_pressure.probes.probe import save_probe
    from models_under_pressure.probes.weights import spoken_weights

    names, weights = families(probes), spoken_weights(weight or [], balance=balance)
    wanted = layers_named(layer)
    asked = Asked(text, messages, label, tuple(positive or ()), id_, group)
    with tempfile.TemporaryDirectory() as folder:
        tables = read_tables([train, *evaluate], asked, Path(folder), allow_refused=allow_refused)
        config = ModelConfig(name=model_aliases().get(model, model), **adapter_fields(adapter))
        found = run(
            tables[0],
            tables[1:],
            model=config,
            layers=wanted,
            probes=names,
            weights=weights,
            max_tokens=max_tokens,
            seed=seed,
        )
    for name, probe in found.probes.items():
        save_probe(probe, out / name)
    print(to_text(found, len(tables[0].records), seed=seed), end="")
    print(f"saved: {', '.join(str(out / name) for name in names)}; mup score --probe {out / names[0]} FILE")


def families(text: str) -> list[str]:
    """The probe families of a list with commas.

    Raises:
        UserError: one does not exist.
    """
    from models_under_pressure.core.errors import UserError
    from models_under_pressure.probes.families import FAMILIES

    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in FAMILIES:
            remedy = f"use one of {', '.join(FAMILIES)}."
            raise UserError(f"there is no probe family {name!r}.", where="--probes", remedy=remedy)
    return list(dict.fromkeys(names))


def layers_named(text: str) -> tuple[int, ...] | None:
    """The layers, with commas between, lowest first; None for `auto`.

    Raises:
        UserError: it is neither.
    """
    from models_under_pressure.core.errors import UserError

    parts = [part.strip() for part in text.split(",")]
    if text != "auto" and not all(part.removeprefix("-").isdecimal() for part in parts):
        remedy = "write a number from 0, -1, several with commas such as 11,16, or auto."
        raise UserError(f"{text!r} is no layer.", where="--layer", remedy=remedy)
    return None if text == "auto" else tuple(int(part) for part in parts)


def run(
    train: Table,
    evaluate: Sequence[Table],
    *,
    model: "ModelConfig",
    layers: Sequence[int] | None,
    probes: Sequence[str],
    weights: "RecordWeights | None" = None,
    max_tokens: int = 8192,
    seed: int,
) -> Fitted:
    """Fit and score.

    Args:
        train: records to fit on.
        evaluate: records to measure on.
        model: the model that reads them.
        layers: decoder blocks, from 0, that a probe reads side by side, or -1; None chooses the one with the highest
            cross-validated AUROC of a mean probe.
        probes: families.
        weights: what the training records count; in the choice of a layer all count alike.
        max_tokens: longest conversation.
        seed: seed of folds and probes.

    Raises:
        UserError: there are too few groups for the folds, or see `extract_files` and `fit_probes`.
    """
    import numpy as np

    from models_under_pressure.activations.config import ExtractConfig
    from models_under_pressure.activations.model import layer_numbers
    from models_under_pressure.api import family_config
    from models_under_pressure.probes.data import labelled_activations
    from models_under_pressure.probes.logistic import grouped_folds
    from models_under_pressure.probes.training import fit_probes

    grouped_folds(np.array([one.is_high for one in train.records]), [one.group for one in train.records], FOLDS, seed)
    compared = {} if layers is not None else compare_layers(train, model, max_tokens=max_tokens, seed=seed)
    best = max(compared, key=lambda one: (compared[one], -one)) if compared else 0
    chosen = (best,) if layers is None else tuple(sorted(set(layer_numbers(model, layers))))
    config = ExtractConfig(stored="float32", max_tokens=max_tokens)
    made = extracted([train, *evaluate], chosen, model, config)
    stores = {table.name: [made[table.name, layer] for layer in chosen] for table in (train, *evaluate)}
    data, _ = labelled_activations(stores[train.name], train.path, train.classes, weights)
    rows, held_out = grouped_folds(data.labels, data.groups, FOLDS, seed)[0]
    configs = {name: family_config(name, {}) for name in probes}
    fitted = {
        name: found[0] for name, found in fit_probes(configs, data.only(rows), data.only(held_out), seed=seed).items()
    }
    scores = [score for table in evaluate for score in _scores(table, stores[table.name], fitted, seed)]
    kept = {data.activations.ids[int(row)] for row in rows}
    scores += text_floor(replace(train, records=tuple(one for one in train.records if one.id in kept)), evaluate, seed)
    return Fitted(chosen, compared, fitted, scores, len(held_out))


def _scores(table: Table, stores: Sequence[Path], fitted: "Mapping[str, Probe]", seed: int) -> "Iterator[ScoreList]":
    """What each probe says of a table."""
    import numpy as np

    from models_under_pressure.activations.flops import probe_flops
    from models_under_pressure.evaluation.scores import ScoreList
    from models_under_pressure.probes.data import labelled_activations
    from models_under_pressure.probes.probe import score_together

    one, _ = labelled_activations(stores, table.path, table.classes)
    tokens = np.diff(one.activations.offsets)
    every = score_together(list(fitted.values()), one.activations)
    for (name, probe), logits in zip(fitted.items(), every, strict=True):
        cost = probe_flops(probe.hidden, tokens, directions=probe.directions)
        common = (table.name, name, seed, tuple(one.activations.ids), tuple(one.groups), one.labels)
        yield ScoreList(*common, logits, probe.probabilities(logits), tokens, cost)


def compare_layers(train: Table, model: "ModelConfig", *, max_tokens: int, seed: int) -> dict[int, float]:
    """Layer -> AUROC of a logistic regression on mean tokens, cross-validated over whole groups.

    Layer 0 is left out: what enters it knows nothing of a token's context.
    """
    from statistics import fmean

    from models_under_pressure.activations.config import ExtractConfig
    from models_under_pressure.activations.model import describe_model
    from models_under_pressure.api import family_config
    from models_under_pressure.evaluation.metrics import auroc
    from models_under_pressure.probes.data import labelled_activations
    from models_under_pressure.probes.training import fit_folds

    layers = list(range(1, describe_model(model).n_layers + 1))
    stores = extracted([train], layers, model, ExtractConfig(keep="mean", max_tokens=max_tokens))
    config, found = family_config("mean_logistic", {}), dict[int, float]()
    for layer in layers:
        data, _ = labelled_activations(stores[train.name, layer], train.path, train.classes)
        folds = fit_folds(config, data, FOLDS, seed=seed)
        found[layer] = fmean(auroc(probe.decision_function(one.activations), one.labels) for probe, one in folds)
    return found


def extracted(
    tables: Sequence[Table], layers: Sequence[int], model: "ModelConfig", config: Any
) -> dict[tuple[str, int], Path]:
    """(Name of a table, layer) -> its store, on the shelf that the pipeline's stores are made on and kept on too."""
    from models_under_pressure.activations.extract import extract_on_shelf

    names = [table.name for table in tables for _ in layers]
    made = extract_on_shelf([table.path for table in tables], layers, model=model, config=config)
    return {(name, layer): store for name, (layer, store, _) in zip(names, made, strict=True)}


def text_floor(train: Table, evaluate: Sequence[Table], seed: int) -> list["ScoreList"]:
    """Scores of every evaluation file by length and word counts, fitted on the records that the probes saw."""
    from models_under_pressure.baselines.data import LabelledRecords
    from models_under_pressure.baselines.text import TextBaselineConfig, fit_text_monitors, score_texts

    config = TextBaselineConfig(min_documents=3 if len(train.records) >= _FEW else 1, control_seeds=1)
    monitors = fit_text_monitors(LabelledRecords(train.name, train.records), config, seed=seed)
    return [score_texts(monitor, LabelledRecords(one.name, one.records)) for one in evaluate for monitor in monitors]


def to_text(found: Fitted, records: int, *, seed: int) -> str:
    """The layers compared and the metrics of every method, with 95 % intervals that resample whole groups."""
    from models_under_pressure.core.display import text_table
    from models_under_pressure.core.layers import layers_text
    from models_under_pressure.evaluation.report import EvaluateConfig, evaluate_scores

    config = EvaluateConfig.model_validate({"resamples": 2000})
    rows: list[list[str]] = []
    for one in sorted(found.scores, key=lambda scores: scores.dataset):
        measured = evaluate_scores(one.logits, one.labels, one.groups, config=config, seed=seed)
        cells = [
            f"{measured[name]:.3f} [{measured[f'{name}_low']:.3f}, {measured[f'{name}_high']:.3f}]"
            for name in ("auroc", "tpr_at_1pct_fpr")
        ]
        rows.append([one.dataset, f"{measured['n']:,}", f"{measured['positives']:,}", one.probe, *cells])
    where = layers_text({"layers": found.chosen})
    lines = [f"{where}; fitted on {records - found.held_out:,} records, {found.held_out:,} held out"]
    if found.layers:
        told = ", ".join(f"{layer}: {value:.3f}" for layer, value in found.layers.items())
        lines.append(f"cross-validated AUROC of each layer: {told}")
    heads = ("data", ">n", ">positives", "method", "AUROC [95 %]", "TPR at 1 % FPR [95 %]")
    return "\n".join([*lines, text_table(heads, rows)])
