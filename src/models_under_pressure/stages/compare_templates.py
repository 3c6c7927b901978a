"""Stage `compare_templates`: the wordings that prompted models were asked with, on the dev sets."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from models_under_pressure.baselines.data import LabelledRecords, read_labelled
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import read_json, read_jsonl, write_jsonl
from models_under_pressure.experiments.templates import Logits, compare_templates
from models_under_pressure.stages.paths import RESULTS


def run(*, dev: Mapping[str, Path], models: Mapping[str, Sequence[str]], confidence: float) -> None:
    """Write data/results/compare_templates.jsonl, from the rows of `prompt_baseline`.

    Args:
        dev: dataset -> labelled records.
        models: prompted model -> the wordings that it was asked with.
        confidence: coverage of the intervals.

    Raises:
        UserError: a model has no rows of a wording, or rows of other records.
    """
    data = [read_labelled(name, path) for name, path in dev.items()]
    folders = {name: RESULTS / "prompted" / name for name in models}
    asked = {
        name: {
            template: {one.name: _logits(folders[name] / one.name / f"{template}.jsonl", one) for one in data}
            for template in templates
        }
        for name, templates in models.items()
    }
    chosen = {name: read_json(folder / "choice.json")["chosen"] for name, folder in folders.items()}
    write_jsonl(RESULTS / "compare_templates.jsonl", compare_templates(asked, chosen, data, confidence=confidence))


def _logits(path: Path, data: LabelledRecords) -> Logits:
    """Empty for a set of one class, of which nothing is asked."""
    if data.labels.all() or not data.labels.any():
        return {}
    logits = {row["id"]: row["logit"] for _, row in read_jsonl(path)}
    if set(logits) != {record.id for record in data.records}:
        raise UserError(
            f"the rows are of other records than {data.name}.", where=str(path), remedy="run `dvc repro` again."
        )
    return logits
