"""Stage `check_overlap`: stop the pipeline when sets that must not know each other share content."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import write_json
from models_under_pressure.core.records import read_records
from models_under_pressure.datasets.overlap import Overlap, OverlapConfig, Part, overlaps_between
from models_under_pressure.stages.paths import OVERLAPS

IN_USE = "in_use"
"""Name of the comparison of all datasets that probes are trained, chosen and tested on."""
REFUSED = OVERLAPS.with_name("overlap_refused.json")


@dataclass(frozen=True, slots=True)
class InUse:
    """A dataset that the pipeline reads."""

    path: Path
    purpose: str
    """`train`, `validation`, `dev` or `test`: two of one purpose may share rows."""


def run(
    versions: Mapping[str, Mapping[str, Path]],
    in_use: Mapping[str, InUse],
    *,
    config: OverlapConfig,
    allowed: Mapping[str, int],
) -> None:
    """Compare the splits of each version, and the datasets in use with each other; write every overlapping pair.

    Args:
        versions: version -> split -> file.
        in_use: name -> dataset.
        config: what counts as overlap.
        allowed: version, or `in_use` -> pairs that are known and accepted.

    Raises:
        UserError: there are more overlapping pairs than allowed; they are listed in `overlap_refused.json` beside the
            report, which is not written.
    """
    compared = read_parts(versions, in_use)
    found = {name: overlaps_between(parts, config) for name, parts in compared.items()}
    report = {name: _entry(parts, found[name]) for name, parts in compared.items()}
    excess = [name for name, pairs in found.items() if len(pairs) > allowed.get(name, 0)]
    if excess:
        write_json(REFUSED, {name: report[name] for name in excess})
        raise UserError(
            "; ".join(_describe(name, found[name], allowed.get(name, 0)) for name in excess),
            where="check_overlap",
            remedy=f"see {REFUSED}; `mup check_overlap --clean` declares versions without these rows, or accept their "
            "number by name in params.yaml: check_overlap.allowed.",
        )
    REFUSED.unlink(missing_ok=True)
    write_json(OVERLAPS, report)


def read_parts(versions: Mapping[str, Mapping[str, Path]], in_use: Mapping[str, InUse]) -> dict[str, list[Part]]:
    """What is compared: version, or `in_use` -> its parts."""
    compared = {
        name: [Part(split, split, read_records(path)) for split, path in splits.items()]
        for name, splits in versions.items()
    }
    compared[IN_USE] = [
        Part(name, one.purpose, read_records(one.path), dataset=_dataset(name, one.purpose))
        for name, one in in_use.items()
    ]
    return compared


def _dataset(name: str, purpose: str) -> str:
    """Within one dataset ids and pairs mean the same: the splits of the training prompts, `mt_dev` and `mt_test`."""
    return "training" if purpose in ("train", "validation") else name.removesuffix(f"_{purpose}")


def _entry(parts: list[Part], pairs: list[Overlap]) -> dict[str, Any]:
    return {"rows": {part.name: len(part.records) for part in parts}, "pairs": [asdict(pair) for pair in pairs]}


def _describe(name: str, pairs: list[Overlap], allowed: int) -> str:
    first = "; ".join(
        f"{pair.kind}: {pair.left_split} {pair.left_id} ~ {pair.right_split} {pair.right_id}" for pair in pairs[:3]
    )
    return f"{name} has {len(pairs)} overlapping pairs ({allowed} allowed), first {first}"
