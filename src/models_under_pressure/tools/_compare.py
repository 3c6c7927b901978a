"""Two versions, two labellings, or any files held against each other: `mup datasets diff|agreement|overlap`."""

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models_under_pressure.core.records import Record
    from models_under_pressure.datasets.files import Splits
    from models_under_pressure.datasets.overlap import Overlap, Part

_Dataset = Annotated[str, typer.Argument(help="Name of the dataset, such as mt.")]
_Kind = Annotated[Literal["raw", "balanced"], typer.Option(help="Which files to compare.")]
_Most = Annotated[int, typer.Option(min=1, help="Rows of each list to show.")]
_Before = Annotated[str, typer.Argument(help="Version to compare with: apr_16, or apr_16@REV as a commit had it.")]


def diff(
    dataset: _Dataset,
    before: _Before,
    after: Annotated[str, typer.Argument(help="Version to look at, such as apr_30.")],
    kind: _Kind = "raw",
    form: Annotated[Literal["text", "markdown", "json"], typer.Option("--format", help="How to print it.")] = "text",
    most: _Most = 20,
) -> None:
    """Show the rows added, dropped and moved, and the labels that flipped, between two versions or commits.

    Example: mup datasets diff mt apr_16 apr_30

    Example: mup datasets diff mt apr_30@origin/main apr_30
    """
    from models_under_pressure.datasets import diff as room

    result = room.diff(_read(dataset, before, kind), _read(dataset, after, kind))
    title = f"{dataset} ({kind}): {before} -> {after}"
    if form == "json":
        _print_json(room.to_json(result))
    elif form == "markdown":
        print(room.to_markdown(result, title=title, most=most), end="")
    else:
        print(room.to_text(result, title=title, most=most), end="")


def agreement(
    dataset: _Dataset,
    first: _Before,
    second: Annotated[
        str | None, typer.Argument(help="The other version; without it, the labels that `first` had before.")
    ] = None,
    kind: _Kind = "raw",
    form: Annotated[Literal["markdown", "json"], typer.Option("--format", help="How to print it.")] = "markdown",
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 42,
) -> None:
    """Show how far two labellings agree: kappa of labels and scores with intervals, and the flips.

    Example: mup datasets agreement mt mar_20 apr_16

    Example: mup datasets agreement mt apr_16
    """
    from models_under_pressure.datasets import agreement as room

    rows = _read(dataset, first, kind).records
    if second is None:
        result = room.agreement(room.previous_labelling(rows), rows, seed=seed)
    else:
        result = room.agreement(rows, _read(dataset, second, kind).records, seed=seed)
    if form == "json":
        _print_json(room.to_json(result))
    else:
        print(room.to_markdown(result), end="")


def overlap(
    files: Annotated[list[Path], typer.Argument(help="Two or more dataset files, JSON Lines or CSV.")],
    form: Annotated[Literal["text", "json"], typer.Option("--format", help="How to print it.")] = "text",
    most: _Most = 20,
) -> None:
    """List what rows of any files share, as `check_overlap` in params.yaml defines it.

    Ids and pair ids are compared between files of one dataset, by what their names begin with.

    Example: mup datasets overlap data/evals/mt_apr_30/mt_raw_apr_30.jsonl data/evals/mt_apr_30/mt_test_raw_apr_30.jsonl
    """
    from dataclasses import asdict

    from models_under_pressure.core.errors import UserError
    from models_under_pressure.core.section import read
    from models_under_pressure.datasets.overlap import CheckOverlap, Part, overlaps_between
    from models_under_pressure.datasets.published import convert

    if len(files) < 2:
        raise UserError("there is nothing to compare one file with.", remedy="name two files or more.")
    names = _names(files)
    parts = [
        Part(name, name, convert(path).records, dataset=_dataset_of(path))
        for name, path in zip(names, files, strict=True)
    ]
    pairs = overlaps_between(parts, read("check_overlap", CheckOverlap))
    if form == "json":
        _print_json({"rows": {part.name: len(part.records) for part in parts}, "pairs": [asdict(one) for one in pairs]})
    else:
        print(_overlap_text(parts, pairs, most), end="")


def _overlap_text(parts: "list[Part]", pairs: "list[Overlap]", most: int) -> str:
    from collections import Counter

    from models_under_pressure.datasets.diff import one_line

    kinds = Counter(pair.kind for pair in pairs)
    rows = {(split, id_) for p in pairs for split, id_ in ((p.left_split, p.left_id), (p.right_split, p.right_id))}
    counted = ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items())) or "nothing shared"
    lines = [f"{len(pairs)} pairs: {counted}"]
    for part in parts:
        concerned = sum(split == part.name for split, _ in rows)
        lines.append(f"{part.name}: {concerned:,} of {len(part.records):,} rows")
    lines += [
        one_line(f"{p.kind}: {p.left_split} {p.left_id} ~ {p.right_split} {p.right_id}", 400) for p in pairs[:most]
    ]
    lines += [f"… and {len(pairs) - most} more (--most, or --format json)"] if len(pairs) > most else []
    return "\n".join(lines) + "\n"


def _names(files: list[Path]) -> list[str]:
    stems = [path.stem for path in files]
    return stems if len(set(stems)) == len(stems) else [str(path) for path in files]


def _dataset_of(path: Path) -> str:
    """What a file's ids belong to, from its name: `mt` for `mt_test_balanced_apr_30.jsonl`."""
    return re.split(r"(?:_test)?_(?:raw|balanced|samples)(?=_|$)", path.stem)[0]


def _read(dataset: str, version: str, kind: str) -> "Splits":
    """Both splits of `VERSION`, or of `VERSION@REV` as that commit had them."""
    from models_under_pressure.datasets.files import read_splits
    from models_under_pressure.datasets.origins import load_source

    splits = load_source(dataset).splits
    name, _, revision = version.partition("@")
    return (
        _read_then(dataset, name, revision, splits, kind)
        if revision
        else read_splits(dataset, name, splits=splits, kind=kind)
    )


def _read_then(dataset: str, version: str, revision: str, splits: "Sequence[str]", kind: str) -> "Splits":
    """Splits as a commit had them: in the folder of the version, or, before there was one, in that of the split."""
    from models_under_pressure.core.errors import UserError
    from models_under_pressure.core.records import read_records
    from models_under_pressure.datasets.files import EVALS, Splits, split_path
    from models_under_pressure.review.revisions import Revision

    read: dict[str, list[Record]] = {}
    with tempfile.TemporaryDirectory() as folder:
        then = Revision(revision, Path(folder))
        for split in splits:
            path = split_path(dataset, version, split, kind=kind)
            found = then.file(path.as_posix()) or then.file((EVALS / split / path.name).as_posix())
            if found is None:
                raise UserError(
                    f"{then.missing[-2].reason}.", remedy="run `dvc fetch --all-commits`, or name another commit."
                )
            read[split] = read_records(found)
    return Splits(dev=read.get("dev", ()), test=read.get("test", ()))


def _print_json(value: object) -> None:
    import json

    print(json.dumps(value, indent=2, ensure_ascii=False))
