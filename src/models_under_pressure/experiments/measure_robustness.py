"""Measure how the scores of probes hold under changes of the conversations that keep their stakes."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from models_under_pressure.activations.config import ExtractConfig, PipelineModel, ProbeParams
from models_under_pressure.baselines.data import LabelledRecords, read_labelled
from models_under_pressure.core.display import progress
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import write_jsonl
from models_under_pressure.core.paths import EXPERIMENT_RESULTS, control_sets, datasets_in_use
from models_under_pressure.core.records import Record, read_records
from models_under_pressure.core.section import EXPERIMENTS, Section, model_aliases, read
from models_under_pressure.datasets.wrapping import (
    Change,
    Changed,
    Material,
    Padding,
    Wrapping,
    change_record,
    read_paraphrases,
    shipped_benign,
)
from models_under_pressure.evaluation.metrics import auroc
from models_under_pressure.evaluation.report import EvaluateConfig
from models_under_pressure.evaluation.robustness import Effect, Paired, effect, mean_effect, mean_of_draws
from models_under_pressure.experiments.shared.panel import Panel, Read, fit_panel, threshold_of
from models_under_pressure.experiments.shared.rows import Row
from models_under_pressure.experiments.shared.samples import check_unseen, generator_of
from models_under_pressure.experiments.shared.setting import read_setting
from models_under_pressure.probes.data import labelled_activations
from models_under_pressure.probes.families import ProbeConfig, TrainConfig

CONTROL = "permuted_labels"
"""Name of the control's rows."""
PARAPHRASES = Path("data/demo/paraphrases.jsonl")


class MeasureRobustness(Section):
    """Which probes are tried, on which records, with which changes."""

    purposes: tuple[Literal["dev", "test"], ...] = Field(min_length=1)
    """Purposes of the datasets."""
    records: int = Field(ge=2)
    """Records of each class that are taken from a dataset, at random; those with a paraphrase first."""
    padding: dict[Padding, tuple[Annotated[int, Field(ge=1)], ...]]
    """Where benign text is put -> how much: tokens for each token of the conversation; of `turns`, exchanges."""
    wrappings: tuple[Wrapping, ...]
    """Changes that have no amount."""
    max_tokens: int = Field(ge=128)
    """Longest changed conversation: benign text is cut to fit, which the results count."""
    budget: float = Field(gt=0, lt=1)
    """False positive rate whose stored threshold is tried."""
    shuffles: int = Field(ge=2)
    """Shuffles of the training labels that the control is fitted on."""
    probes: dict[str, ProbeConfig]
    """Probes beside those of `train.probes`: name -> family and hyper-parameters."""

    @property
    def changes(self) -> list[Change]:
        """No change first, then all that are tried."""
        padded = [Change(kind, amount) for kind, amounts in self.padding.items() for amount in amounts]
        return [Change(), *padded, *map(Change, self.wrappings)]


def command() -> None:
    """Measure how the scores of probes hold under changes of the conversations that keep their stakes.

    Example: mup measure_robustness
    """
    from models_under_pressure.activations.model import load_model

    config, setting = read("measure_robustness", MeasureRobustness, EXPERIMENTS), read_setting()
    datasets = [read_labelled(one.name, one.path, one.classes) for one in datasets_in_use(*config.purposes)]
    for one in datasets:
        check_unseen([setting.train, setting.validation], one)
    model, place, train = read("model", PipelineModel), read("probe", ProbeParams), read("train", TrainConfig)
    control = [
        labelled_activations([*place.stores(model.name, one).values()], one.path, one.classes)[0]
        for one in control_sets()
    ]
    panel = fit_panel(
        train.probes | config.probes,
        setting,
        load_model(model.resolved(model_aliases()), layers=place.reads),
        read("extract", ExtractConfig),
        shuffles=config.shuffles,
        control=control,
        weights=train.weights,
    )
    evaluate = read("evaluate", EvaluateConfig)
    rows = run(config, panel, datasets, benign=read_benign(), seed=setting.seed, evaluate=evaluate)
    write_jsonl(EXPERIMENT_RESULTS / "measure_robustness.jsonl", rows)


def read_benign() -> list[Record]:
    """Conversations of the control set in use, or those that ship with the package where there is none."""
    found = [record for one in control_sets() for record in read_records(one.path, one.classes)]
    return found or shipped_benign()


def run(
    config: MeasureRobustness,
    panel: Panel,
    datasets: Sequence[LabelledRecords],
    *,
    benign: Sequence[Record],
    seed: int,
    evaluate: EvaluateConfig,
    paraphrases: Path = PARAPHRASES,
) -> list[Row]:
    """Score a sample of every dataset under every change.

    Returns:
        `evaluation.rows.RobustnessRow`s of each change and probe by dataset, then of the means over datasets; a change
        that could not be tried says why.

    Raises:
        UserError: a probe has no stored threshold of the budget; no dataset holds both classes.
    """
    told = read_paraphrases(paraphrases) if paraphrases.exists() else {}
    sampled = [
        sample(one, config.records, generator_of(seed, 0, one.name), first={id_ for of, id_ in told if of == one.name})
        for one in datasets
        if one.labels.any() and not one.labels.all()
    ]
    if not sampled:
        raise UserError("no dataset holds both classes.", remedy="name another purpose in measure_robustness.purposes.")
    most = min(config.max_tokens, panel.extract.max_tokens)
    material = Material(benign, _counter(panel.model.tokenizer), most, seed, told)
    thresholds = {name: threshold_of(name, probe, config.budget) for name, probe in panel.probes.items()}
    comparison = _Comparison(panel, sampled, thresholds, seed, evaluate)
    rows: list[Row] = []
    with progress(len(config.changes), what="measure_robustness", unit="changes") as shown:
        for change in config.changes:
            found = comparison.rows(change, _changed(sampled, change, material))
            missing = f"no conversation here has a paraphrase in {paraphrases}"
            rows += found or [_named(change) | {"dataset": "mean", "left_out": missing}]
            shown.advance()
    return sorted(rows, key=lambda row: row["dataset"] == "mean")


def sample(
    data: LabelledRecords, records: int, generator: np.random.Generator, *, first: Collection[str] = ()
) -> LabelledRecords:
    """Random records, as many of each class as asked for or as there are; those named in `first` before others."""
    drawn: list[int] = generator.permutation(len(data.records)).tolist()
    order = sorted(drawn, key=lambda row: data.records[row].id not in first)
    classes = [[row for row in order if data.labels[row] == value][:records] for value in (True, False)]
    return LabelledRecords(data.name, tuple(data.records[row] for row in sorted(classes[0] + classes[1])))


class _Comparison:
    """Scores changed records, and compares them with the unchanged ones, which come first."""

    def __init__(
        self,
        panel: Panel,
        sampled: Sequence[LabelledRecords],
        thresholds: Mapping[str, tuple[float, str]],
        seed: int,
        evaluate: EvaluateConfig,
    ) -> None:
        self._panel, self._sampled, self._thresholds = panel, sampled, thresholds
        self._seed, self._evaluate = seed, evaluate
        self._unchanged: Mapping[str, Read] = {}

    def rows(self, change: Change, changed: Mapping[str, Changed]) -> list[Row]:
        """Rows of every probe and of the control by dataset, then of their means; none where nothing was changed."""
        found = self._panel.read([one.record for one in changed.values()]) if changed else {}
        self._unchanged = self._unchanged or found
        rows: list[Row] = []
        effects: dict[str, list[Effect]] = {name: [] for name in self._thresholds}
        controls: list[list[float]] = []
        for data in self._sampled:
            records = [record for record in data.records if _key(data, record) in found]
            part = LabelledRecords(data.name, tuple(records))
            if not part.labels.any() or part.labels.all():
                continue
            counts = _counts(part, changed, found)
            before, after = (
                np.stack([read[_key(data, one)].logits for one in records]) for read in (self._unchanged, found)
            )
            for column, (name, (threshold, _)) in enumerate(self._thresholds.items()):
                paired = Paired(before[:, column], after[:, column], part.labels, part.groups, threshold)
                generator = generator_of(self._seed, 1, data.name)
                effects[name].append(effect(paired, generator, resamples=self._evaluate.resamples))
                rows.append(self._row(change, name, data.name, effects[name][-1]) | counts)
            shuffled = after[:, len(self._thresholds) :].T
            controls.append([auroc(logits, part.labels) for logits in shuffled])
            rows.append(self._control(change, data.name, controls[-1]) | counts)
        if not controls:
            return []
        whole = _total(rows, CONTROL)
        means = [self._row(change, name, "mean", mean_effect(parts)) | whole for name, parts in effects.items()]
        averaged = np.mean(controls, axis=0).tolist()
        return [*rows, *means, self._control(change, "mean", averaged) | whole]

    def _row(self, change: Change, name: str, dataset: str, found: Effect) -> Row:
        family, source = self._panel.probes[name].family, self._thresholds[name][1]
        columns = found.columns(self._evaluate.confidence)
        if change.kind == "none":
            columns = {key: value for key, value in columns.items() if "_change" not in key}
        return (
            {"dataset": dataset, "probe": name, "family": family, "threshold_from": source} | _named(change) | columns
        )

    def _control(self, change: Change, dataset: str, aurocs: Sequence[float]) -> Row:
        estimate = mean_of_draws(aurocs, self._evaluate.confidence)
        shown = {"dataset": dataset, "probe": CONTROL, "family": "mean_logistic", "shuffles": len(aurocs)}
        return shown | _named(change) | estimate.columns("auroc")


def _changed(datasets: Sequence[LabelledRecords], change: Change, material: Material) -> dict[str, Changed]:
    """`dataset/id` -> the conversation after a change, which has that for its id."""
    found: dict[str, Changed] = {}
    for data in datasets:
        for record in data.records:
            changed = change_record(record, change, material, dataset=data.name)
            if changed is not None:
                key = _key(data, record)
                found[key] = replace(changed, record=replace(changed.record, id=key))
    return found


def _key(data: LabelledRecords, record: Record) -> str:
    return f"{data.name}/{record.id}"


def _named(change: Change) -> Row:
    return {"change": change.name, "kind": change.kind, "amount": change.amount}


def _counts(part: LabelledRecords, changed: Mapping[str, Changed], found: Mapping[str, Read]) -> Row:
    """How many records there are, how long they became, and which of them are not what was asked for."""
    keys = [_key(part, record) for record in part.records]
    return {
        "n": len(keys),
        "positives": int(part.labels.sum()),
        "tokens": round(float(np.mean([found[key].tokens for key in keys])), 1),
        "less_benign": sum(changed[key].is_cut for key in keys),
        "truncated": sum(found[key].is_truncated for key in keys),
    }


def _total(rows: Sequence[Row], probe: str) -> Row:
    """The counts of several datasets together, from the rows of one probe."""
    parts = [row for row in rows if row["probe"] == probe]
    sums = {name: sum(row[name] for row in parts) for name in ("n", "positives", "less_benign", "truncated")}
    tokens = sum(row["tokens"] * row["n"] for row in parts) / sums["n"]
    return {"datasets": len(parts)} | sums | {"tokens": round(tokens, 1)}


def _counter(tokenizer: Any) -> Callable[[str], int]:
    return lambda text: len(tokenizer(text, add_special_tokens=False, verbose=False).input_ids)
