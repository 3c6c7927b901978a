"""How much each training record counts."""

import re
from collections.abc import Sequence
from typing import Annotated

import numpy as np
from jaxtyping import Bool, Float64
from pydantic import Field

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import Frozen, checked
from models_under_pressure.core.records import Record

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class RecordWeights(Frozen):
    """What training records count in the loss: section `train.weights` of params.yaml."""

    by: dict[str, dict[str, Positive]] = Field(default_factory=dict[str, dict[str, Positive]])
    """Column of the records -> its value -> weight, multiplied where several apply; all other records have 1.
    `source_dataset` names the file of a row that was imported from a folder of several."""
    balance: bool = False
    """Whether both classes count the same together, however many records each has."""
    positive: Positive = 1.0
    """How many times a record of the positive class counts, after that."""

    def of(
        self, records: Sequence[Record], labels: Bool[np.ndarray, "records"]
    ) -> Float64[np.ndarray, "records"] | None:
        """The weight of each record, 1 in the mean; None where all are alike.

        Raises:
            UserError: no record has such a column or such a value.
        """
        found = np.ones(len(records))
        for column, weights in self.by.items():
            values = [str(record.fields[column]) if column in record.fields else None for record in records]
            if missing := [value for value in weights if value not in values]:
                there = sorted({value for value in values if value is not None})[:8]
                told = f"the column holds {', '.join(map(repr, there))}" if there else "they have no such column"
                remedy = "correct `train.weights.by` (or --weight)."
                raise UserError(f"no training record has {column} {missing[0]!r}: {told}.", remedy=remedy)
            found *= [weights.get(value, 1.0) if value is not None else 1.0 for value in values]
        if self.balance:
            for own in (labels, ~labels):
                found[own] /= found[own].sum()
        found[labels] *= self.positive
        return None if np.all(found == found[0]) else found / found.mean()


def spoken_weights(texts: Sequence[str], *, balance: bool) -> RecordWeights:
    """What training records count, from texts of the form `COLUMN:VALUE=NUMBER`.

    Raises:
        UserError: a text is of another form, or its number is not above 0.
    """
    by: dict[str, dict[str, str]] = {}
    for text in texts:
        found = re.fullmatch(r"([^:]+):(.+)=([^=]+)", text)
        if found is None:
            remedy = "write COLUMN:VALUE=NUMBER, such as source:forum=2."
            raise UserError(f"{text!r} is no weight.", where="--weight", remedy=remedy)
        by.setdefault(found[1], {})[found[2]] = found[3]
    return checked(RecordWeights, {"by": by, "balance": balance})
