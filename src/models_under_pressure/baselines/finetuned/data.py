"""Labelled conversations as a finetuned model reads them."""

import logging
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64

from models_under_pressure.activations.model import ModelDescription
from models_under_pressure.activations.tokens import TokenisationReport, TokenisedRecord, tokenise
from models_under_pressure.baselines.data import LabelledRecords
from models_under_pressure.baselines.finetuned.config import FinetuneConfig
from models_under_pressure.core.files import stable_uniform


@dataclass(frozen=True, eq=False)
class Split:
    """Tokenised records with their labels."""

    records: tuple[TokenisedRecord, ...]
    labels: Bool[np.ndarray, "records"]
    report: TokenisationReport
    """What was cut or changed so that the model can read it."""

    @property
    def lengths(self) -> Int64[np.ndarray, "records"]:
        """Tokens of each record."""
        return np.array([len(record.token_ids) for record in self.records], dtype=np.int64)


def tokenised_split(data: LabelledRecords, model: ModelDescription, config: FinetuneConfig) -> Split:
    """Render conversations through the model's chat template, and cut long ones with a warning.

    Raises:
        UserError: the template refuses a record.
    """
    tokenised, report = tokenise(
        data.records,
        model.tokenizer,
        name=model.name,
        max_tokens=config.max_tokens,
        truncation_side=config.truncation_side,
    )
    if report.truncated:
        logging.getLogger(__name__).warning(
            "%s: %d of %d records cut to %d tokens", data.name, len(report.truncated), len(tokenised), config.max_tokens
        )
    return Split(tuple(tokenised), data.labels, report)


def draw_groups(data: LabelledRecords, rows: int | None, *, seed: int) -> LabelledRecords:
    """At most `rows` records, as whole groups: those that come first when groups are drawn in a seeded order.

    A larger number extends a smaller draw.
    """
    if rows is None or rows >= len(data.records):
        return data
    members: dict[str, list[int]] = {}
    for row, group in enumerate(data.groups):
        members.setdefault(group, []).append(row)
    chosen: list[int] = []
    for group in sorted(members, key=lambda name: (stable_uniform("finetune", seed, name), name)):
        if len(chosen) + len(members[group]) > rows:
            break
        chosen += members[group]
    return LabelledRecords(data.name, tuple(data.records[row] for row in sorted(chosen)))
