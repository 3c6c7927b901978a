"""Label counts and lengths of a dataset file."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import Any

from models_under_pressure.core.concept import STAKES, Classes
from models_under_pressure.core.display import text_table
from models_under_pressure.core.records import Label, Record, classes_of

_UNSPACED = re.compile(r"([\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\u0e00-\u0e7f])")
"""Scripts written without spaces (kana, Han, Hangul, Thai): each character counts as a word."""
_PUNCTUATION = re.compile(
    r"[!-/:-@\[-`{-~\u00a1-\u00bf\u2010-\u2027\u2030-\u205e\u3001-\u301f\u0964\u0965\uff01-\uff0f\uff1a-\uff20]+"
)
_QUANTILE = 1.959963984540054
"""97.5 % quantile of the standard normal distribution."""
_HEADS = {
    "characters_mean": "characters",
    "characters_min": "least",
    "characters_max": "most",
    "turns_mean": "turns",
    "turns_max": "most turns",
}
"""Metric -> head of its column in the table."""


def label_counts(records: Sequence[Record]) -> dict[str, int]:
    """How many rows carry each label."""
    counts = Counter(record.label for record in records)
    classes = classes_of(records)
    return {classes.word(label): counts[label] for label in Label}


def distribution(records: Sequence[Record]) -> dict[str, float]:
    """Counts per label; characters (without role names) and turns per row.

    Raises:
        ValueError: there are no records.
    """
    if not records:
        raise ValueError("an empty dataset has no distribution")
    characters = [sum(len(message.spoken) for message in record.messages) for record in records]
    turns = [len(record.messages) for record in records]
    found: dict[str, float] = {"rows": len(records), **label_counts(records)}
    for name, values in (("characters", characters), ("turns", turns)):
        found[f"{name}_mean"], found[f"{name}_median"] = round(fmean(values), 1), median(values)
        found[f"{name}_min"], found[f"{name}_max"] = min(values), max(values)
    return found


def to_table(found: Mapping[str, Mapping[str, float]], classes: Classes) -> str:
    """File -> its distribution, as aligned text."""
    negative, positive, ambiguous = classes.words
    heads = {"rows": "rows"} | {word: word for word in (positive, negative, ambiguous)} | _HEADS
    rows = ([name, *(f"{values[metric]:,}" for metric in heads)] for name, values in found.items())
    return text_table(("file", *(f">{head}" for head in heads.values())), rows)


def chart_rows(
    dataset: str, found: Mapping[str, float], *, part: str, classes: Classes = STAKES
) -> list[dict[str, Any]]:
    """One row per label for the figure: `dataset`, `part` (such as `dev_raw`), `label`, `rows`."""
    return [{"dataset": dataset, "part": part, "label": word, "rows": found[word]} for word in classes.words]


def stakes_rows(dataset: str, records: Sequence[Record], raw: Sequence[Record] = ()) -> list[dict[str, Any]]:
    """One row per value of the 1-10 scale and kind of record: `dataset`, `stakes`, `kind`, `rows`.

    `kind` is the label of records in use; of the records that `raw` has beyond them `ambiguous`, or `balanced` where a
    clear one was left out so that the classes are of one size. `stakes` is 0 where a record has no place on the scale.
    """
    in_use = {record.id for record in records}
    counts: Counter[tuple[int, str]] = Counter()
    for record in records:
        counts[record.scale_label or 0, record.label_word or "not labelled"] += 1
    for record in raw:
        if record.id not in in_use:
            kind = record.classes.ambiguous if record.label is Label.AMBIGUOUS else "balanced"
            counts[record.scale_label or 0, kind] += 1
    return [
        {"dataset": dataset, "stakes": stakes, "kind": kind, "rows": rows}
        for (stakes, kind), rows in sorted(counts.items())
    ]


def inconsistencies(raw: Sequence[Record], balanced: Sequence[Record]) -> list[str]:
    """What is wrong with a balanced file: unequal classes, rows that raw has not, other texts or labels than there."""
    known = {record.id: record for record in raw}
    counts = {label: count for label, count in label_counts(balanced).items() if count}
    common = [(record, known[record.id]) for record in balanced if record.id in known]
    found = {
        "rows that the raw file does not have": len(balanced) - len(common),
        "rows with another text than in the raw file": sum(one.input != other.input for one, other in common),
        "rows with another label than in the raw file": sum(one.label is not other.label for one, other in common),
        "ambiguous rows": counts.get(classes_of(balanced).ambiguous, 0),
    }
    problems = [f"{count} {what}" for what, count in found.items() if count]
    if len(set(counts.values())) > 1:
        problems.append(f"classes of unequal size: {', '.join(f'{name} {count}' for name, count in counts.items())}")
    return problems


def telling_words(records: Sequence[Record], *, most: int = 12, least_records: int = 5) -> list[dict[str, Any]]:
    """The words whose odds of occurring in a record differ most surely between the classes, the positive ones first.

    Log odds ratio with half a record added to each cell (Gart 1966), its normal 95 % interval, records as independent;
    sorted by how many standard errors it is from 0. `most` words of each sign that occur in at least `least_records`.
    The intervals do not correct for having chosen the most extreme words.

    Returns:
        `word`, `log_odds`, `low`, `high`, and the number of records with it, in columns named by the classes:
        `high_stakes` of `n_high`, `low_stakes` of `n_low`. Empty where a class is missing.
    """
    counts = {label: Counter[str]() for label in (Label.HIGH, Label.LOW)}
    sizes = Counter(record.label for record in records)
    for label, found in counts.items():
        for record in records:
            if record.label is label:
                found.update(set(words(record.text)))
    if not all(sizes[label] for label in counts):
        return []
    columns = classes_of(records).columns
    rows = [
        _row(word, counts[Label.HIGH][word], counts[Label.LOW][word], sizes[Label.HIGH], sizes[Label.LOW], columns)
        for word in sorted(counts[Label.HIGH] | counts[Label.LOW])
        if counts[Label.HIGH][word] + counts[Label.LOW][word] >= least_records
    ]
    rows.sort(key=lambda row: (-abs(row["log_odds"]) / (row["high"] - row["low"]), row["word"]))
    high, low = ([row for row in rows if row["log_odds"] * sign > 0][:most] for sign in (1, -1))
    return high + low[::-1]


def words(text: str) -> list[str]:
    """Words as people read them, without differences of case, white space and punctuation."""
    folded = _PUNCTUATION.sub(" ", text.casefold())
    return (folded if folded.isascii() else _UNSPACED.sub(r" \1 ", folded)).split()


def _row(word: str, high: int, low: int, n_high: int, n_low: int, columns: tuple[str, str]) -> dict[str, Any]:
    cells = (high + 0.5, n_high - high + 0.5, low + 0.5, n_low - low + 0.5)
    value = math.log(cells[0] / cells[1]) - math.log(cells[2] / cells[3])
    reach = _QUANTILE * math.sqrt(sum(1 / cell for cell in cells))
    counted = {columns[0]: high, "n_high": n_high, columns[1]: low, "n_low": n_low}
    ends = {"log_odds": value, "low": value - reach, "high": value + reach}
    return {"word": word} | {name: round(number, 4) for name, number in ends.items()} | counted
