"""What a stage that evaluates wrote: probes first, then other methods by name."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models_under_pressure.core.files import read_json

METHODS = ("probes", "text_baseline")
"""Score files of the pipeline; language-model baselines are measured in experiments/."""


def read_evaluated(path: Path, probes: Sequence[str]) -> dict[str, Any]:
    """`metrics` and `groups` of a dataset: the probes in the order given, then the baselines by name.

    Raises:
        UserError: the file is missing.
    """
    found = read_json(path)
    return {what: _ordered(found[what], probes) for what in ("metrics", "groups")}


def _ordered(found: dict[str, Any], probes: Sequence[str]) -> dict[str, Any]:
    names = [name for name in probes if name in found]
    return {name: found[name] for name in [*names, *sorted(found.keys() - set(names))]}
