"""Which words tell high from low stakes: in how many records of each class a word occurs."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from models_under_pressure.core.records import Label, Record
from models_under_pressure.datasets.overlap import words

_QUANTILE = 1.959963984540054
"""Of the normal distribution at 97.5 %."""


def telling_words(records: Sequence[Record], *, most: int = 12, least_records: int = 5) -> list[dict[str, Any]]:
    """The words whose odds of occurring in a record differ most surely between the classes, high-stakes ones first.

    Log odds ratio with half a record added to each cell (Gart 1966), its normal 95 % interval, records as independent;
    sorted by how many standard errors it is from 0. `most` words of each sign that occur in at least `least_records`.
    The intervals do not correct for having chosen the most extreme words.

    Returns:
        `word`, `log_odds`, `low`, `high`, and the number of records with it: `high_stakes` of `n_high`, `low_stakes` of
        `n_low`. Empty where a class is missing.
    """
    counts = {label: Counter[str]() for label in (Label.HIGH, Label.LOW)}
    sizes = Counter(record.label for record in records)
    for label, found in counts.items():
        for record in records:
            if record.label is label:
                found.update(set(words(record.text)))
    if not all(sizes[label] for label in counts):
        return []
    rows = [
        _row(word, counts[Label.HIGH][word], counts[Label.LOW][word], sizes[Label.HIGH], sizes[Label.LOW])
        for word in sorted(counts[Label.HIGH] | counts[Label.LOW])
        if counts[Label.HIGH][word] + counts[Label.LOW][word] >= least_records
    ]
    rows.sort(key=lambda row: (-abs(row["log_odds"]) / (row["high"] - row["low"]), row["word"]))
    high, low = ([row for row in rows if row["log_odds"] * sign > 0][:most] for sign in (1, -1))
    return high + low[::-1]


def _row(word: str, high: int, low: int, n_high: int, n_low: int) -> dict[str, Any]:
    cells = (high + 0.5, n_high - high + 0.5, low + 0.5, n_low - low + 0.5)
    value = math.log(cells[0] / cells[1]) - math.log(cells[2] / cells[3])
    reach = _QUANTILE * math.sqrt(sum(1 / cell for cell in cells))
    counted = {"high_stakes": high, "n_high": n_high, "low_stakes": low, "n_low": n_low}
    ends = {"log_odds": value, "low": value - reach, "high": value + reach}
    return {"word": word} | {name: round(number, 4) for name, number in ends.items()} | counted
