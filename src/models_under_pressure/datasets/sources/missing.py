"""Texts that stand for a missing one."""

_NOT_TEXT = frozenset({"", "nan", "none", "null", "#name?", "#n/a"})
"""What spreadsheets and data frames leave of a missing statement."""


def is_missing(value: object) -> bool:
    """Whether there is no text: nothing, or what a spreadsheet or a data frame writes in its place."""
    return value is None or (isinstance(value, float) and value != value) or str(value).strip().casefold() in _NOT_TEXT
