"""Section `check_overlap` of params.yaml."""

from models_under_pressure.datasets.overlap import OverlapConfig


class CheckOverlapParams(OverlapConfig):
    """What counts as overlap, and what of it is accepted."""

    allowed: dict[str, int]
    """Version -> pairs of overlapping rows that are known and accepted."""
