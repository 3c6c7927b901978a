"""What the stage `evaluate` wrote, probes first."""

from collections.abc import Sequence
from typing import Any

from models_under_pressure.core.files import read_json
from models_under_pressure.stages.paths import evaluated_path


def read_evaluated(dataset: str, probes: Sequence[str]) -> dict[str, Any]:
    """`metrics` and `groups` of a dataset: the probes in the order given, then the baselines by name.

    Raises:
        UserError: the file is missing.
    """
    found = read_json(evaluated_path(dataset))
    return {what: _ordered(found[what], probes) for what in ("metrics", "groups")}


def _ordered(found: dict[str, Any], probes: Sequence[str]) -> dict[str, Any]:
    names = [name for name in probes if name in found]
    return {name: found[name] for name in [*names, *sorted(found.keys() - set(names))]}
