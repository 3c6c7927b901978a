"""Look at dataset versions, compare them, and use the published files."""

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from models_under_pressure.tools import _compare

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from models_under_pressure.core.records import Record
    from models_under_pressure.datasets.diff import Place
    from models_under_pressure.datasets.published import Catalog

_REPORTS = Path("data/published/reports")
_COLUMNS = (("high-stakes", 7), ("low-stakes", 7), ("ambiguous", 11))
"""Labels -> widths of their columns."""

app = typer.Typer(help="Look at dataset versions and compare them.", no_args_is_help=True)

app.command()(_compare.diff)
app.command()(_compare.agreement)
app.command()(_compare.overlap)


@app.command()
def download(
    files: Annotated[list[str] | None, typer.Argument(help="Files of published/catalog.yaml; all if none.")] = None,
    origin: Annotated[Literal["r2", "hub"], typer.Option("--from", help="Cloudflare R2 or Hugging Face.")] = "r2",
    pin: Annotated[bool, typer.Option(help="Write the hashes of what came into published/catalog.yaml.")] = False,
) -> None:
    """Fetch the paper's final files as stages of published/dvc.yaml: verified, converted, repairs reported.

    Example: mup datasets download --from hub
    """
    from models_under_pressure.core.errors import UserError
    from models_under_pressure.core.section import edit_yaml
    from models_under_pressure.datasets.published import CATALOG_PATH, SELECTED_PATH, load_catalog

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
    reports = {key: _report(key) for key in keys}
    if pin:
        with edit_yaml(CATALOG_PATH) as content:
            for key, report in reports.items():
                content["files"][key][origin]["sha256"] = report["sha256"]
    print(_table(catalog, reports), end="")


@app.command()
def use(
    which: Annotated[
        Literal["published", "versions"], typer.Argument(help="The paper's files, or those that the recipes make.")
    ],
) -> None:
    """Point the datasets in use (data/versions.yaml) at the paper's files, or back at the latest versions.

    Example: mup datasets use published
    """
    from models_under_pressure.core.section import edit_yaml
    from models_under_pressure.datasets.lineage import LINEAGE_PATH, latest_versions, load_lineage
    from models_under_pressure.datasets.published import load_catalog, load_selected

    lineage = load_lineage()
    if which == "published":
        selected = load_selected()
        values = {
            file.used_as: f"data/published/{file.to}"
            for key, file in load_catalog().files.items()
            if file.used_as and key in selected
        }
    else:
        values = latest_versions(lineage)
    datasets = {
        purpose: {name: values.get(name, value) for name, value in entries.items()}
        for purpose, entries in lineage.datasets.items()
    }
    with edit_yaml(LINEAGE_PATH) as content:
        for purpose, entries in datasets.items():
            content["datasets"][purpose].update(entries)
    for name, value in (entry for entries in datasets.values() for entry in entries.items()):
        print(f"{name:20} {value}")


@app.command("list")
def list_versions() -> None:
    """List every version with its parent and steps.

    Example: mup datasets list
    """
    from models_under_pressure.datasets.lineage import load_lineage

    lineage = load_lineage()
    for key, version in lineage.versions.items():
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
    from models_under_pressure.synthesis.confounders import measure, summary, to_json, to_table

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
    from models_under_pressure.datasets.diff import Place, describe

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
    if len(names := sorted({place.dataset for place in found})) > 1:
        raise UserError(
            f"{len(names)} datasets have a record {id_!r}: {', '.join(names)}.", remedy="say which with --dataset."
        )
    print(describe(found), end="")


def _made() -> "dict[Place, Path]":
    """The dataset files of the pipeline that exist."""
    from models_under_pressure.core.errors import UserError
    from models_under_pressure.datasets.deployment import dataset_files
    from models_under_pressure.datasets.diff import Place
    from models_under_pressure.datasets.lineage import load_lineage

    versions, files = load_lineage().versions, dataset_files()
    found = {
        Place(versions[key].dataset if key in versions else key, f"{key} {part}"): path
        for key, parts in sorted(files.items(), key=lambda item: [*versions, *files].index(item[0]))
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


def _report(key: str) -> dict[str, Any]:
    from models_under_pressure.core.files import read_json

    return read_json(_REPORTS / f"{key}.json")


def _table(catalog: "Catalog", reports: dict[str, dict[str, Any]]) -> str:
    from models_under_pressure.core.records import read_records
    from models_under_pressure.datasets.distribution import inconsistencies

    lines = [f"{'file':28}{'rows':>7}{'high':>7}{'low':>7}{'ambiguous':>11}  repaired"]
    for key, report in reports.items():
        labels = report["labels"]
        counts = "".join(f"{labels[name]:>{width}}" for name, width in _COLUMNS)
        repaired = ", ".join(f"{name} {count}" for name, count in report["repaired"].items()) or "nothing"
        lines.append(f"{key:28}{report['rows']:>7}{counts}  {repaired}")
    for key in reports:
        raw = key.replace("_balanced", "_raw")
        if raw != key and raw in reports:
            paths = [Path("data/published") / catalog.files[name].to for name in (raw, key)]
            lines += [f"{key}: {problem}" for problem in inconsistencies(*map(read_records, paths))]
    return "\n".join(lines) + "\n"
