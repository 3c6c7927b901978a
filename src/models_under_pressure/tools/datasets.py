"""`mup datasets`: look at dataset versions and compare them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from models_under_pressure.commands import compare, published

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from models_under_pressure.core.records import Record
    from models_under_pressure.datasets.describe_record import Place

app = typer.Typer(help="Look at dataset versions and compare them.", no_args_is_help=True)

app.command()(published.download)
app.command()(published.use)
app.command()(compare.diff)
app.command()(compare.agreement)
app.command()(compare.overlap)


@app.command("list")
def list_versions() -> None:
    """List every version with its parent and steps.

    Example: mup datasets list
    """
    from models_under_pressure.params.lineage import load_lineage

    lineage = load_lineage()
    for key, version in (lineage.versions | lineage.test_versions).items():
        print(f"{key:24} from {version.parent:10} {', '.join(step.op for step in version.steps)}")


@app.command()
def distribution(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Dataset files; all that the pipeline makes if none.")
    ] = None,
    form: Annotated[Literal["text", "markdown", "json"], typer.Option("--format", help="How to print it.")] = "text",
) -> None:
    """Show label counts and lengths of every set: dev and test, raw and balanced.

    Example: mup datasets distribution
    """
    import json

    from models_under_pressure.core.records import read_records
    from models_under_pressure.datasets.distribution import distribution as measure
    from models_under_pressure.datasets.distribution import to_markdown, to_table
    from models_under_pressure.datasets.published import convert

    if files:
        found = {path.as_posix(): measure(convert(path).records) for path in files}
    else:
        found = {place.file: measure(read_records(path)) for place, path in _made().items()}
    if form == "json":
        print(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        print((to_markdown if form == "markdown" else to_table)(found), end="")


@app.command()
def confounders(
    files: Annotated[list[Path], typer.Argument(help="Labelled files without ambiguous rows.")],
    pair: Annotated[list[str] | None, typer.Option(help="Columns that the prompts of a pair agree in.")] = None,
    group: Annotated[list[str] | None, typer.Option(help="Columns that rows of one situation agree in.")] = None,
    seed: Annotated[int, typer.Option(help="Of folds and bootstrap.")] = 42,
) -> None:
    """Show how well length, words and attributes alone tell high from low stakes, with intervals.

    Example: mup datasets confounders data/training/prompts_4x/train.jsonl
    """
    from models_under_pressure.core.errors import UserError
    from models_under_pressure.core.records import read_records
    from models_under_pressure.synthesis.confounder_report import summary, to_json, to_table
    from models_under_pressure.synthesis.confounders import measure

    found: dict[str, Any] = {}
    for path in files:
        records = read_records(path)
        try:
            measured = measure(records, seed=seed, pair=_key(pair), group=_key(group or _situation(records)))
        except ValueError as error:
            raise UserError(f"{error}.", where=str(path), remedy="give a labelled file with both classes.") from None
        found[path.name if len(files) > 1 else "file"] = summary(to_json(measured))
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
    from models_under_pressure.core.errors import UserError
    from models_under_pressure.core.records import read_records
    from models_under_pressure.datasets.describe_record import Place, datasets_of, describe

    places = {Place("", str(file)): file} if file else _made()
    found = {
        place: record
        for place, path in places.items()
        if dataset in (None, place.dataset)
        for record in read_records(path)
        if record.id == id_
    }
    if not found:
        where = str(file) if file else dataset or "the datasets"
        raise UserError(f"no record {id_!r}.", where=where, remedy="see the ids in the files of data/evals.")
    if len(names := datasets_of(list(found))) > 1:
        raise UserError(
            f"{len(names)} datasets have a record {id_!r}: {', '.join(names)}.", remedy="say which with --dataset."
        )
    print(describe(found), end="")


def _made() -> "dict[Place, Path]":
    """The dataset files of the pipeline that exist."""
    from models_under_pressure.core.errors import UserError
    from models_under_pressure.datasets.describe_record import Place
    from models_under_pressure.params.dataset_files import dataset_files
    from models_under_pressure.params.lineage import load_lineage

    lineage = load_lineage()
    versions = lineage.versions | lineage.test_versions
    found = {
        Place(versions[key].dataset if key in versions else key, f"{key} {part}"): path
        for key, parts in dataset_files(lineage).items()
        for part, path in parts.items()
        if path.is_file()
    }
    if not found:
        raise UserError("no dataset file exists.", where="data", remedy="run `dvc repro` or `dvc pull`.")
    return found


def _key(columns: "Sequence[str] | None") -> "Callable[[Record], str]":
    from models_under_pressure.synthesis.confounders import by_columns

    return by_columns(columns) if columns else lambda record: record.group


def _situation(records: "Sequence[Record]") -> list[str] | None:
    return ["situation_id"] if all("situation_id" in record.fields for record in records) else None
