"""Train on one kind of prompt and test on every kind.

McKenzie et al. 2025, figure 11.
"""

from collections import Counter
from collections.abc import Sequence
from statistics import fmean

import numpy as np
from pydantic import Field

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import write_jsonl
from models_under_pressure.core.paths import EXPERIMENT_RESULTS
from models_under_pressure.core.records import classes_of
from models_under_pressure.core.section import EXPERIMENTS, Section, read
from models_under_pressure.evaluation.metrics import accuracy
from models_under_pressure.experiments.shared.rows import Row, auroc_row
from models_under_pressure.experiments.shared.samples import check_unseen
from models_under_pressure.experiments.shared.sets import LabelledSet, take
from models_under_pressure.experiments.shared.setting import Setting, read_setting
from models_under_pressure.probes.families import ProbeConfig
from models_under_pressure.probes.probe import Probe, score_together
from models_under_pressure.probes.training import fit_probes


class MeasureGeneralisation(Section):
    """Between which kinds of prompts generalisation is measured."""

    attributes: tuple[str, ...] = Field(min_length=1)
    """Columns of the training prompts."""
    least: int = Field(ge=1)
    """Records of each class that a value needs, to train on or to be tested on."""
    probe: ProbeConfig


def command() -> None:
    """Train on one kind of prompt, test on every kind.

    Example: mup measure_generalisation
    """
    rows = run(read("measure_generalisation", MeasureGeneralisation, EXPERIMENTS), read_setting())
    write_jsonl(EXPERIMENT_RESULTS / "measure_generalisation.jsonl", rows)


def run(config: MeasureGeneralisation, setting: Setting) -> list[Row]:
    """For every attribute: train on the training prompts of one value, test on the validation prompts of every value.

    No split chooses the epoch, as in the paper: the last is taken.

    Returns:
        `evaluation.rows.CellRow`s; where a value has fewer than `least` records of either class, they say so instead.

    Raises:
        UserError: the records lack the attribute; or a tested conversation is among the training records.
    """
    check_unseen([setting.train], setting.validation)
    rows: list[Row] = []
    for attribute in config.attributes:
        trained, parts = _by_value(setting.train, attribute), _by_value(setting.validation, attribute)
        for value, part in trained.items():
            shortage = _shortage(part, config.least)
            fitted = [] if shortage else fit_probes({"": config.probe}, part.data, None, seed=setting.seed)[""]
            for other in dict.fromkeys([*trained, *parts]):
                cell = {"attribute": attribute, "trained_on": value, "tested_on": other, "n_train": len(part.records)}
                rows.append(cell | _cell(fitted, parts.get(other), config.least, shortage, setting.confidence))
    return rows


def _cell(fitted: Sequence[Probe], tested: LabelledSet | None, least: int, shortage: str, confidence: float) -> Row:
    """What one probe gives on one value; `shortage` says why there is no probe."""
    left_out = shortage or (_shortage(tested, least) if tested else "no records to test on")
    if tested is None or left_out:
        return {"n": len(tested.records) if tested else 0, "left_out": left_out}
    logits = score_together(fitted, tested.data.activations)
    pairs = zip(fitted, logits, strict=True)
    share = fmean(accuracy(probe.probabilities(scores), tested.labels) for probe, scores in pairs)
    return {**auroc_row(logits, tested, confidence), "accuracy": round(share, 4)}


def _by_value(labelled: LabelledSet, attribute: str) -> dict[str, LabelledSet]:
    """The records of each value, the commonest value first."""
    values = [record.fields.get(attribute) for record in labelled.records]
    if None in values:
        raise UserError(
            f"{values.count(None)} of {len(values)} records of {labelled.name} have no {attribute!r}.",
            remedy="name a column that every record has.",
        )
    names = [str(value) for value in values]
    counted = sorted(Counter(names).items(), key=lambda item: (-item[1], item[0]))
    return {value: take(labelled, np.flatnonzero(np.array(names) == value)) for value, _ in counted}


def _shortage(part: LabelledSet, least: int) -> str:
    high = int(part.labels.sum())
    low = len(part.records) - high
    classes = classes_of(part.records)
    return f"only {high} {classes.positive} and {low} {classes.negative} records" if min(high, low) < least else ""
