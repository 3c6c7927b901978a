"""Does a probe trained on prompts of one kind find the stakes in prompts of another (McKenzie et al. 2025, fig. 11)?"""

from collections import Counter
from collections.abc import Sequence
from statistics import fmean

import numpy as np

from models_under_pressure.core.errors import UserError
from models_under_pressure.evaluation.metrics import accuracy
from models_under_pressure.experiments.labelled_set import LabelledSet, check_unseen, take
from models_under_pressure.experiments.scoring import Row, auroc_row, logits_of
from models_under_pressure.probes.config import ProbeConfig
from models_under_pressure.probes.probe import Probe
from models_under_pressure.probes.training import fit_probes


def measure_generalisation(
    probe: ProbeConfig,
    train: LabelledSet,
    tested: LabelledSet,
    *,
    attributes: Sequence[str],
    least: int,
    seed: int,
    confidence: float = 0.95,
) -> list[Row]:
    """For every attribute: train on the prompts of one value, test on those of every value.

    There is no validation split, as in the paper: the last epoch is taken.

    Returns:
        A row per attribute, training value and tested value, with `n_train` and `n`. Where a value has fewer than
        `least` records of either class the row has no `auroc`, but says why in `left_out`.

    Raises:
        UserError: the records lack the attribute; or a tested conversation is among the training records.
    """
    check_unseen([train], tested)
    rows: list[Row] = []
    for attribute in attributes:
        trained, parts = _by_value(train, attribute), _by_value(tested, attribute)
        for value, part in trained.items():
            shortage = _shortage(part, least)
            fitted = [] if shortage else fit_probes({"": probe}, part.data, None, seed=seed)[""]
            for other in dict.fromkeys([*trained, *parts]):
                cell = {"attribute": attribute, "trained_on": value, "tested_on": other, "n_train": len(part.records)}
                if shortage:
                    rows.append(cell | {"n": len(parts[other].records) if other in parts else 0, "left_out": shortage})
                else:
                    rows.append(cell | _cell(fitted, parts.get(other), least, confidence))
    return rows


def _cell(fitted: Sequence[Probe], tested: LabelledSet | None, least: int, confidence: float) -> Row:
    shortage = "no records to test on" if tested is None else _shortage(tested, least)
    if tested is None or shortage:
        return {"n": len(tested.records) if tested else 0, "left_out": shortage}
    logits = logits_of({"": fitted}, tested)[""]
    shares = [
        accuracy(probe.probabilities(scores), tested.data.labels) for probe, scores in zip(fitted, logits, strict=True)
    ]
    return auroc_row(logits, tested.data, confidence=confidence) | {"accuracy": round(fmean(shares), 4)}


def _by_value(labelled: LabelledSet, attribute: str) -> dict[str, LabelledSet]:
    """The records of each value, the commonest value first."""
    values = [record.fields.get(attribute) for record in labelled.records]
    if None in values:
        raise UserError(
            f"{values.count(None)} of {len(values)} records of {labelled.name} have no {attribute!r}.",
            remedy="name a column that every record has.",
        )
    names = np.array([str(value) for value in values])
    counted = sorted(Counter(names.tolist()).items(), key=lambda item: (-item[1], item[0]))
    return {value: take(labelled, np.flatnonzero(names == value)) for value, _ in counted}


def _shortage(part: LabelledSet, least: int) -> str:
    high = int(part.data.labels.sum())
    low = len(part.records) - high
    return f"only {high} high-stakes and {low} low-stakes records" if min(high, low) < least else ""
