"""Stage `check_overlap`: stop the pipeline when two splits share content."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from models_under_pressure.datasets.overlap import Overlap, OverlapConfig, find_overlaps
from models_under_pressure.errors import UserError
from models_under_pressure.files import write_json
from models_under_pressure.records import read_records
from models_under_pressure.stages.paths import OVERLAPS


def run(paths: Mapping[str, Mapping[str, Path]], *, config: OverlapConfig, allowed: Mapping[str, int]) -> None:
    """Compare the splits of each dataset; write every overlapping pair.

    Args:
        paths: dataset version -> split -> file.
        config: what counts as overlap.
        allowed: dataset -> pairs that are known and accepted.

    Raises:
        UserError: a dataset has more overlapping pairs than allowed; the report is not written.
    """
    found: dict[str, list[Overlap]] = {}
    for dataset, splits in paths.items():
        found[dataset] = find_overlaps({split: read_records(path) for split, path in splits.items()}, config)
    excess = {name: pairs for name, pairs in found.items() if len(pairs) > allowed.get(name, 0)}
    if excess:
        raise UserError(
            "; ".join(_describe(name, pairs, allowed.get(name, 0)) for name, pairs in excess.items()),
            where="check_overlap",
            remedy="remove the rows from one split with a recipe step, or accept them by name in "
            "params.yaml: check_overlap.allowed.",
        )
    write_json(OVERLAPS, {name: [asdict(pair) for pair in pairs] for name, pairs in found.items()})


def _describe(dataset: str, pairs: list[Overlap], allowed: int) -> str:
    first = "; ".join(
        f"{pair.kind}: {pair.left_split} {pair.left_id} ~ {pair.right_split} {pair.right_id}" for pair in pairs[:3]
    )
    return f"{dataset} has {len(pairs)} overlapping pairs ({allowed} allowed), first {first}"
