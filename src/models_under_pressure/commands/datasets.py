"""`mup datasets`: look at dataset versions and compare them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from models_under_pressure.commands import published

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from models_under_pressure.datasets.splits import Splits
    from models_under_pressure.records import Record

app = typer.Typer(help="Look at dataset versions and compare them.", no_args_is_help=True)

app.command()(published.download)
app.command()(published.use)

_Dataset = Annotated[str, typer.Argument(help="Name of the dataset, such as mt.")]


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
def diff(
    dataset: _Dataset,
    before: Annotated[str, typer.Argument(help="Version to compare with, such as apr_16.")],
    after: Annotated[str, typer.Argument(help="Version to look at, such as apr_30.")],
    kind: Annotated[Literal["raw", "balanced"], typer.Option(help="Which files to compare.")] = "raw",
    form: Annotated[Literal["markdown", "json"], typer.Option("--format", help="How to print it.")] = "markdown",
    most: Annotated[int, typer.Option(help="Rows of each list to show.")] = 20,
) -> None:
    """Show the rows added, dropped and moved, and the labels that flipped, between two versions.

    Example: mup datasets diff mt apr_16 apr_30
    """
    import json

    from models_under_pressure.datasets import diff as room

    result = room.diff(_read(dataset, before, kind), _read(dataset, after, kind))
    if form == "json":
        print(json.dumps(room.to_json(result), indent=2, ensure_ascii=False))
    else:
        print(room.to_markdown(result, title=f"{dataset} ({kind}): {before} -> {after}", most=most), end="")


@app.command()
def distribution() -> None:
    """Show label counts and lengths of every file in data/evals and data/training.

    Example: mup datasets distribution
    """
    from models_under_pressure.datasets.distribution import distribution as measure
    from models_under_pressure.datasets.files import EVALS
    from models_under_pressure.records import read_records

    heads = ("rows", "high", "low", "ambiguous", "characters", "turns")
    print(f"{'file':48}" + "".join(f"{head:>11}" for head in heads))
    for path in sorted([*EVALS.glob("*/*.jsonl"), *Path("data/training").glob("*/*.jsonl")]):
        found = measure(read_records(path))
        labels = found["labels"]
        cells = [found["rows"], labels["high-stakes"], labels["low-stakes"], labels["ambiguous"]]
        cells += [found["characters"]["mean"], found["turns"]["mean"]]
        print(f"{path.parent.name + '/' + path.name:48}" + "".join(f"{cell:>11}" for cell in cells))


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
    from models_under_pressure.errors import UserError
    from models_under_pressure.records import read_records
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
    file: Annotated[Path, typer.Argument(help="Dataset file.")], id_: Annotated[str, typer.Argument(metavar="ID")]
) -> None:
    """Print one record: its conversation, label, score and explanation.

    Example: mup datasets show data/evals/dev/mt_raw_apr_30.jsonl 17
    """
    from models_under_pressure.errors import UserError
    from models_under_pressure.records import read_records

    found = next((record for record in read_records(file) if record.id == id_), None)
    if found is None:
        raise UserError(f"no record {id_!r}.", where=str(file), remedy="see the ids in the file.")
    for message in found.messages:
        print(f"[{message.role}] {message.content}")
    print(f"\nlabel {found.label}, stakes {found.scale_label}, confidence {found.scale_label_confidence}")
    print(f"by {found.scale_label_model}: {found.scale_label_explanation}")


def _key(columns: "Sequence[str] | None") -> "Callable[[Record], str]":
    from models_under_pressure.synthesis.confounders import by_columns

    return by_columns(columns) if columns else lambda record: record.group


def _situation(records: "Sequence[Record]") -> list[str] | None:
    return ["situation_id"] if all("situation_id" in record.fields for record in records) else None


def _read(dataset: str, version: str, kind: str) -> "Splits":
    from models_under_pressure.datasets.files import read_splits, splits_of
    from models_under_pressure.params.lineage import load_lineage

    return read_splits(dataset, version, splits=splits_of(test_only=dataset in load_lineage().test_sources), kind=kind)
