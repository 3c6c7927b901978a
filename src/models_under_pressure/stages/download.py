"""Fetch one of the paper's published files."""

from typing import Annotated

import typer

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import write_json
from models_under_pressure.core.records import write_records
from models_under_pressure.datasets.origins import DOWNLOADS, bring
from models_under_pressure.datasets.published import PUBLISHED, PublishedFile, convert, load_selected, report


def command(file: Annotated[str, typer.Argument(help="Name of the file, as in published/params.yaml.")]) -> None:
    """Fetch one of the paper's published files.

    Example: mup download mt_test_balanced
    """
    selected = load_selected()
    if file not in selected:
        raise UserError(f"no selected file {file!r}.", remedy=f"use one of {', '.join(selected)}.")
    run(file, file=selected[file])


def run(key: str, *, file: PublishedFile) -> None:
    """Fetch, verify and convert a file; write the records, and a report of the rows repaired.

    Raises:
        UserError: the download fails, or the content is not the one pinned or has another number of rows.
    """
    piece, found = bring(file.url, DOWNLOADS, sha256=file.sha256)
    converted = convert(piece)
    if file.rows is not None and converted.rows_read != file.rows:
        piece.unlink()
        remedy = "the published file has changed: review it, then correct its entry in published/catalog.yaml."
        problem = f"{converted.rows_read:,} rows came, but {file.rows:,} are expected."
        raise UserError(problem, where=file.url, remedy=remedy)
    write_records(PUBLISHED / file.to, converted.records)
    write_json(PUBLISHED / "reports" / f"{key}.json", {"url": file.url, "sha256": found, **report(converted)})
    piece.unlink()
