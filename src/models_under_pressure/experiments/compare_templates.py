"""Compare the wordings that prompted models were asked with, on the dev sets.

McKenzie et al. 2025, figure 10.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from models_under_pressure.baselines.data import LabelledRecords, read_labelled
from models_under_pressure.baselines.prompted.run import PromptBaselineConfig
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import read_json, read_jsonl, write_jsonl
from models_under_pressure.core.paths import EXPERIMENT_RESULTS, datasets_in_use
from models_under_pressure.core.section import EXPERIMENTS, read
from models_under_pressure.evaluation.differences import delong
from models_under_pressure.evaluation.report import EvaluateConfig
from models_under_pressure.experiments.shared.rows import Row, means

Logits = Mapping[str, float]
"""Record id -> logit."""


def command() -> None:
    """Compare the wordings that prompted models were asked with, on the dev sets.

    Example: mup compare_templates
    """
    models = read("prompt_baseline", PromptBaselineConfig, EXPERIMENTS).models
    rows = run(
        [read_labelled(one.name, one.path, one.classes) for one in datasets_in_use("dev")],
        models={name: config.templates for name, config in models.items()},
        confidence=read("evaluate", EvaluateConfig).confidence,
    )
    write_jsonl(EXPERIMENT_RESULTS / "compare_templates.jsonl", rows)


def run(dev: Sequence[LabelledRecords], *, models: Mapping[str, Sequence[str]], confidence: float = 0.95) -> list[Row]:
    """Compare wordings by the rows of `prompt_baseline`.

    Returns:
        See `compare`.

    Raises:
        UserError: a model has no rows of a wording, or rows of other records.
    """
    asked = {
        name: {template: {one.name: _logits(name, template, one) for one in dev} for template in templates}
        for name, templates in models.items()
    }
    chosen = {name: read_json(EXPERIMENT_RESULTS / "prompted" / name / "choice.json")["chosen"] for name in models}
    return compare(asked, chosen, dev, confidence=confidence)


def compare(
    asked: Mapping[str, Mapping[str, Mapping[str, Logits]]],
    chosen: Mapping[str, str],
    dev: Sequence[LabelledRecords],
    *,
    confidence: float = 0.95,
) -> list[Row]:
    """AUROC of every model and wording on every dev set of two classes (DeLong, grouped; means by MOVER).

    Args:
        asked: monitor -> wording -> dataset -> logits.
        chosen: monitor -> the wording that it uses on the test sets.
        dev: the dev sets.
        confidence: coverage of the intervals.

    Returns:
        `evaluation.rows.WordingRow`s of each model and wording: its dev sets, then the mean over them.

    Raises:
        KeyError: a record has no logit.
    """
    rows: list[Row] = []
    both = [data for data in dev if data.labels.any() and not data.labels.all()]
    for model, templates in asked.items():
        for template, by_dataset in templates.items():
            origin = {"model": model, "template": template, "chosen": template == chosen[model]}
            own: list[Row] = []
            for data in both:
                scores = np.array([by_dataset[data.name][record.id] for record in data.records])
                estimate = delong(scores, data.labels, data.groups, confidence=confidence)
                counts = {"n": len(data.records), "positives": int(data.labels.sum())}
                own.append({"dataset": data.name} | origin | estimate.columns("auroc") | counts)
            rows += [*own, *means(own, by=tuple(origin))]
    return rows


def _logits(model: str, template: str, data: LabelledRecords) -> Logits:
    """Empty for a set of one class, of which nothing is asked."""
    if data.labels.all() or not data.labels.any():
        return {}
    path = EXPERIMENT_RESULTS / "prompted" / model / data.name / f"{template}.jsonl"
    logits = {row["id"]: row["logit"] for _, row in read_jsonl(path)}
    if set(logits) != {record.id for record in data.records}:
        raise UserError(
            f"the rows are of other records than {data.name}.",
            where=str(path),
            remedy="run `dvc repro experiments/dvc.yaml:prompt_baseline`.",
        )
    return logits
