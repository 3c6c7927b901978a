"""Import your own datasets, look at versions, compare them, and use the published files."""

import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from models_under_pressure.core.concept import STAKES, chosen_concept
from models_under_pressure.core.display import text_table
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import read_json
from models_under_pressure.core.records import Record, read_records
from models_under_pressure.core.section import edit_yaml, read
from models_under_pressure.datasets import diff as changes
from models_under_pressure.datasets import distribution as counts
from models_under_pressure.datasets.deployment import dataset_files
from models_under_pressure.datasets.diff import Place
from models_under_pressure.datasets.files import EVALS, Splits, read_splits, split_path
from models_under_pressure.datasets.lineage import LINEAGE_PATH, latest_versions, load_lineage
from models_under_pressure.datasets.origins import load_source
from models_under_pressure.datasets.overlap import CheckOverlap, Overlap, Part, overlaps_between
from models_under_pressure.datasets.published import (
    CATALOG_PATH,
    PUBLISHED,
    SELECTED_PATH,
    Catalog,
    convert,
    load_catalog,
    load_selected,
)
from models_under_pressure.review.revisions import Revision
from models_under_pressure.tools import _import

app = typer.Typer(help="Import datasets, look at versions and compare them.", no_args_is_help=True)
app.command("import")(_import.command)

_Dataset = Annotated[str, typer.Argument(help="Name of the dataset, such as mt.")]
_Kind = Annotated[Literal["raw", "balanced"], typer.Option(help="Which files to compare.")]
_Most = Annotated[int, typer.Option(min=1, help="Rows of each list to show.")]
_Before = Annotated[str, typer.Argument(help="Version to compare with: apr_16, or apr_16@REV as a commit had it.")]
_Form = Annotated[Literal["text", "json"], typer.Option("--format", help="How to print it.")]


@app.command()
def diff(
    dataset: _Dataset,
    before: _Before,
    after: Annotated[str, typer.Argument(help="Version to look at, such as apr_30.")],
    kind: _Kind = "raw",
    form: _Form = "text",
    most: _Most = 20,
) -> None:
    """Show the rows added, dropped and moved, and the labels that flipped, between two versions or commits.

    Example: mup datasets diff mt apr_16 apr_30

    Example: mup datasets diff mt apr_30@origin/main apr_30
    """
    result = changes.diff(_read(dataset, before, kind), _read(dataset, after, kind))
    title = f"{dataset} ({kind}): {before} -> {after}"
    print(_json(asdict(result)) if form == "json" else changes.to_text(result, title=title, most=most), end="")


@app.command()
def agreement(
    dataset: _Dataset,
    first: _Before,
    second: Annotated[
        str | None, typer.Argument(help="The other version; without it, the labels that `first` had before.")
    ] = None,
    kind: _Kind = "raw",
    form: Annotated[Literal["markdown", "json"], typer.Option("--format", help="How to print it.")] = "markdown",
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 42,
) -> None:
    """Show how far two labellings agree: kappa of labels and scores with intervals, and the flips.

    Example: mup datasets agreement mt mar_20 apr_16

    Example: mup datasets agreement mt apr_16
    """
    from models_under_pressure.datasets import agreement as room

    rows = _read(dataset, first, kind).records
    sides = (rows, _read(dataset, second, kind).records) if second else (room.previous_labelling(rows), rows)
    result = room.agreement(*sides, seed=seed)
    print(room.to_markdown(result) if form == "markdown" else _json(room.to_json(result)), end="")


@app.command()
def overlap(
    files: Annotated[list[Path], typer.Argument(help="Two or more dataset files, JSON Lines or CSV.")],
    form: _Form = "text",
    most: _Most = 20,
) -> None:
    """List what rows of any files share, as `check_overlap` in params.yaml defines it.

    Ids and pair ids are compared between files of one dataset, by what their names begin with.

    Example: mup datasets overlap data/evals/mt_apr_30/mt_raw_apr_30.jsonl data/evals/mt_apr_30/mt_test_raw_apr_30.jsonl
    """
    if len(files) < 2:
        raise UserError("there is nothing to compare one file with.", remedy="name two files or more.")
    stems = [path.stem for path in files]
    names = stems if len(set(stems)) == len(stems) else [str(path) for path in files]
    parts = [
        Part(name, name, convert(path).records, dataset=_dataset_of(path))
        for name, path in zip(names, files, strict=True)
    ]
    pairs = overlaps_between(parts, read("check_overlap", CheckOverlap))
    if form == "json":
        rows = {part.name: len(part.records) for part in parts}
        print(_json({"rows": rows, "pairs": [asdict(one) for one in pairs]}), end="")
    else:
        _print_overlap(parts, pairs, most)


@app.command()
def download(
    files: Annotated[list[str] | None, typer.Argument(help="Files of published/catalog.yaml; all if none.")] = None,
    origin: Annotated[Literal["r2", "hub"], typer.Option("--from", help="Cloudflare R2 or Hugging Face.")] = "r2",
    pin: Annotated[bool, typer.Option(help="Write the hashes of what came into published/catalog.yaml.")] = False,
) -> None:
    """Select the paper's final files, and run the stage `download` for each: verified, converted, repairs reported.

    Example: mup datasets download --from hub
    """
    catalog = load_catalog()
    keys = files or list(catalog.files)
    selected = {key: catalog.select(key, origin).model_dump(mode="json") for key in keys}
    with edit_yaml(SELECTED_PATH) as content:
        content["selected"].update(selected)
    command = [sys.executable, "-m", "dvc", "repro", "published/dvc.yaml"]
    if subprocess.run(command).returncode:
        raise UserError(
            "not every file could be fetched.",
            where="published/dvc.yaml",
            remedy="see the messages above; run the command again, and what is there already is not fetched again.",
        )
    reports = {key: read_json(PUBLISHED / "reports" / f"{key}.json") for key in keys}
    if pin:
        with edit_yaml(CATALOG_PATH) as content:
            for key, report in reports.items():
                content["files"][key][origin]["sha256"] = report["sha256"]
    _print_reports(catalog, reports)


@app.command()
def use(
    which: Annotated[
        Literal["published", "versions"], typer.Argument(help="The paper's files, or those that the recipes make.")
    ],
) -> None:
    """Point the datasets in use (data/versions.yaml) at the paper's files, or back at the latest versions.

    Example: mup datasets use published
    """
    lineage = load_lineage()
    if which == "published":
        files = load_catalog().files
        chosen = (files[key] for key in load_selected() if key in files)
        values = {file.used_as: str(PUBLISHED / file.to) for file in chosen if file.used_as}
    else:
        values = latest_versions(lineage)
    with edit_yaml(LINEAGE_PATH) as content:
        for purpose, entries in lineage.datasets.items():
            for name, value in entries.items():
                content["datasets"][purpose][name] = values.get(name, value)
                print(f"{name:20} {values.get(name, value)}")


@app.command("list")
def list_versions() -> None:
    """List every version with its parent and steps.

    Example: mup datasets list
    """
    for key, version in load_lineage().versions.items():
        print(f"{key:24} from {version.parent:10} {', '.join(step.op for step in version.steps)}")


@app.command()
def distribution(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Dataset files; all that the pipeline makes if none.")
    ] = None,
    form: _Form = "text",
) -> None:
    """Show label counts and lengths of every set: dev and test, raw and balanced.

    Example: mup datasets distribution
    """
    classes = chosen_concept().classes
    if files:
        found = {path.as_posix(): counts.distribution(convert(path, classes).records) for path in files}
    else:
        found = {place.file: counts.distribution(read_records(path, classes)) for place, path in _made().items()}
    print(_json(found) if form == "json" else counts.to_table(found, classes), end="")


@app.command()
def confounders(
    files: Annotated[list[Path], typer.Argument(help="Labelled files without ambiguous rows.")],
    pair: Annotated[list[str] | None, typer.Option(help="Columns that the prompts of a pair agree in.")] = None,
    group: Annotated[list[str] | None, typer.Option(help="Columns that rows of one situation agree in.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of folds and bootstrap.")] = 42,
) -> None:
    """Show how well length, words and attributes alone tell the classes apart, with intervals.

    Example: mup datasets confounders data/training/prompts_4x/train.jsonl
    """
    from models_under_pressure.synthesis.confounders import by_columns, measure, summary, to_table

    def key(columns: Sequence[str] | None) -> Callable[[Record], str]:
        return by_columns(columns) if columns else lambda record: record.group

    found: dict[str, Any] = {}
    for path in files:
        records = read_records(path, chosen_concept().classes)
        situation = ["situation_id"] if all("situation_id" in record.fields for record in records) else None
        try:
            measured = measure(records, seed=seed, pair=key(pair), group=key(group or situation))
        except ValueError as error:
            raise UserError(f"{error}.", where=str(path), remedy="give a labelled file with both classes.") from None
        found[path.name if len(files) > 1 else "file"] = summary(measured)
    print(to_table(found), end="")


@app.command()
def show(
    id_: Annotated[str, typer.Argument(metavar="ID", help="Id of the record.")],
    dataset: Annotated[
        str | None, typer.Option(help="Dataset, where several have this id; training, deployment.")
    ] = None,
    file: Annotated[Path | None, typer.Option(help="Look into this file only.")] = None,
) -> None:
    """Print one record: its label in every version with the reasons, its columns, and its last conversation.

    Example: mup datasets show 17 --dataset mt
    """
    places, classes = {Place("", str(file)): file} if file else _made(), chosen_concept().classes
    found = {
        place: record
        for place, path in places.items()
        if dataset in (None, place.dataset)
        for record in read_records(path, classes)
        if record.id == id_
    }
    if not found:
        where = str(file) if file else dataset or "the datasets"
        raise UserError(f"no record {id_!r}.", where=where, remedy="see the ids in the files of data/evals.")
    if len(names := sorted({place.dataset for place in found})) > 1:
        raise UserError(
            f"{len(names)} datasets have a record {id_!r}: {', '.join(names)}.", remedy="say which with --dataset."
        )
    print(changes.describe(found), end="")


def _made() -> dict[Place, Path]:
    """The dataset files of the pipeline that exist."""
    versions, files = load_lineage().versions, dataset_files(chosen_concept().deployment)
    found = {
        Place(versions[key].dataset if key in versions else key, f"{key} {part}"): path
        for key, parts in sorted(files.items(), key=lambda item: [*versions, *files].index(item[0]))
        for part, path in parts.items()
        if path.is_file()
    }
    if not found:
        raise UserError("no dataset file exists.", where="data", remedy="run `dvc repro` or `dvc pull`.")
    return found


def _read(dataset: str, version: str, kind: str) -> Splits:
    """Both splits of `VERSION`; of `VERSION@REV` as that commit had them, under the version or (long ago) the split."""
    splits = load_source(dataset).splits
    name, _, revision = version.partition("@")
    if not revision:
        return read_splits(dataset, name, chosen_concept().classes, splits=splits, kind=kind)
    then: dict[str, Sequence[Record]] = {}
    with tempfile.TemporaryDirectory() as folder:
        commit = Revision(revision, Path(folder))
        for split in splits:
            path = split_path(dataset, name, split, kind=kind)
            found = commit.file(path.as_posix()) or commit.file((EVALS / split / path.name).as_posix())
            if found is None:
                remedy = "run `dvc fetch --all-commits`, or name another commit."
                raise UserError(f"{commit.missing[-2].reason}.", remedy=remedy)
            then[split] = read_records(found, chosen_concept().classes)
    return Splits(dev=then.get("dev", ()), test=then.get("test", ()))


def _dataset_of(path: Path) -> str:
    """What a file's ids belong to, from its name: `mt` for `mt_test_balanced_apr_30.jsonl`."""
    return re.split(r"(?:_test)?_(?:raw|balanced|samples)(?=_|$)", path.stem)[0]


def _print_overlap(parts: Sequence[Part], pairs: Sequence[Overlap], most: int) -> None:
    kinds = Counter(pair.kind for pair in pairs)
    rows = {(split, id_) for p in pairs for split, id_ in ((p.left_split, p.left_id), (p.right_split, p.right_id))}
    print(f"{len(pairs)} pairs:", ", ".join(f"{kind} {n}" for kind, n in sorted(kinds.items())) or "nothing shared")
    for part in parts:
        concerned = sum(split == part.name for split, _ in rows)
        print(f"{part.name}: {concerned:,} of {len(part.records):,} rows")
    for p in pairs[:most]:
        print(changes.one_line(f"{p.kind}: {p.left_split} {p.left_id} ~ {p.right_split} {p.right_id}", 400))
    if len(pairs) > most:
        print(f"… and {len(pairs) - most} more (--most, or --format json)")


def _print_reports(catalog: Catalog, reports: dict[str, dict[str, Any]]) -> None:
    """What came, what was repaired, and where a balanced file contradicts its raw file."""
    labels = (STAKES.positive, STAKES.negative, STAKES.ambiguous)
    rows: list[list[object]] = []
    for key, report in reports.items():
        repaired = ", ".join(f"{name} {count}" for name, count in report["repaired"].items()) or "nothing"
        rows.append([key, report["rows"], *(report["labels"][name] for name in labels), repaired])
    print(text_table(("file", ">rows", ">high", ">low", ">ambiguous", "repaired"), rows), end="")
    for key in reports:
        raw = key.replace("_balanced", "_raw")
        if raw != key and raw in reports:
            before, after = (read_records(PUBLISHED / catalog.files[name].to) for name in (raw, key))
            for problem in counts.inconsistencies(before, after):
                print(f"{key}: {problem}")


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
