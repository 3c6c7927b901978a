"""Stop the pipeline when sets that must not know each other share content."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import file_hash, write_json
from models_under_pressure.core.paths import OVERLAPS
from models_under_pressure.core.records import read_records
from models_under_pressure.core.section import read
from models_under_pressure.datasets.files import made_versions
from models_under_pressure.datasets.lineage import InUse, load_lineage
from models_under_pressure.datasets.overlap import IN_USE, CheckOverlap, Overlap, OverlapConfig, Part, overlaps_between

REFUSED = OVERLAPS.with_name("overlap_refused.json")


def command(
    clean: Annotated[
        bool, typer.Option("--clean", help="Declare versions without the overlapping rows in data/versions.yaml.")
    ] = False,
) -> None:
    """Stop when the splits of a version, or the datasets in use, share content.

    Example: mup check_overlap
    """
    config, lineage = read("check_overlap", CheckOverlap), load_lineage()
    if clean:
        from models_under_pressure.datasets.lineage import clean_overlaps

        parts = read_parts(split_files(), lineage.in_use)
        for line in clean_overlaps(parts, lineage, config, allowed=config.allowed):
            print(line)
    else:
        run(split_files(), lineage.in_use, config=config, allowed=config.allowed)


def run(
    versions: Mapping[str, Mapping[str, Path]],
    in_use: Sequence[InUse],
    *,
    config: OverlapConfig,
    allowed: Mapping[str, int],
) -> None:
    """Compare the splits of each version, and the datasets in use with each other; write every overlapping pair.

    The report also has the hash of every file in use, by which `use_datasets` knows what passed.

    Args:
        versions: version -> split -> file.
        in_use: the datasets in use.
        config: what counts as overlap.
        allowed: version, or `in_use` -> pairs that are known and accepted.

    Raises:
        UserError: a dataset in use has no file or no rows; or there are more overlapping pairs than allowed: they are
            listed in `overlap_refused.json` beside the report, which is not written.
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
    write_json(OVERLAPS, {"compared": report, "files": {one.name: file_hash(one.path) for one in in_use}})


def split_files() -> dict[str, dict[str, Path]]:
    """Version -> split -> raw file, of the versions that have two splits."""
    raw = {
        key: {part.removesuffix("_raw"): path for part, path in files.items() if part.endswith("_raw")}
        for key, files in made_versions().items()
    }
    return {key: splits for key, splits in raw.items() if len(splits) > 1}


def read_parts(versions: Mapping[str, Mapping[str, Path]], in_use: Sequence[InUse]) -> dict[str, list[Part]]:
    """What is compared: version, or `in_use` -> its parts.

    Raises:
        UserError: a dataset in use has no file or no rows.
    """
    compared = {IN_USE: [_part(one) for one in in_use]}
    for name, splits in versions.items():
        compared[name] = [Part(split, split, read_records(path, None)) for split, path in splits.items()]
    return compared


def _part(one: InUse) -> Part:
    where = f"data/versions.yaml: datasets.{one.purpose}.{one.name}"
    if not one.path.is_file():
        remedy = "make the version with `dvc repro`" if one.version else "check the path, or bring it with `dvc pull`"
        raise UserError(f"there is no file {one.path}.", where=where, remedy=f"{remedy}, or remove the entry.")
    records = read_records(one.path, None)
    if not records:
        raise UserError(f"{one.path} is empty.", where=where, remedy="remove the entry, or use another file.")
    # Within one dataset ids and pairs mean the same: the splits of the training prompts, `mt_dev` and `mt_test`.
    dataset = "training" if one.purpose in ("train", "validation") else one.name.removesuffix(f"_{one.purpose}")
    return Part(one.name, one.purpose, records, dataset=dataset)


def _entry(parts: list[Part], pairs: list[Overlap]) -> dict[str, Any]:
    return {"rows": {part.name: len(part.records) for part in parts}, "pairs": [asdict(pair) for pair in pairs]}


def _describe(name: str, pairs: list[Overlap], allowed: int) -> str:
    first = "; ".join(
        f"{pair.kind}: {pair.left_split} {pair.left_id} ~ {pair.right_split} {pair.right_id}" for pair in pairs[:3]
    )
    return f"{name} has {len(pairs)} overlapping pairs ({allowed} allowed), first {first}"
