"""Tables of somebody's own, and what importing them gives."""

import csv
from pathlib import Path

from typer.testing import CliRunner

from models_under_pressure.datasets.columns import Asked
from models_under_pressure.datasets.importing import Share, Spool
from models_under_pressure.datasets.tables import Pinned, open_source, source_rows
from models_under_pressure.tools.datasets import app

ROOT = Path(__file__).parents[2]
CHAT = [{"role": "user", "content": "it's 'quoted'\nand more"}, {"role": "assistant", "content": "yes, no"}]


def imported(tmp_path, source, pinned=None, **asked):
    """The records and the report of a source."""
    folder = tmp_path / "spool"
    folder.mkdir(exist_ok=True)
    (folder / "rows.sqlite").unlink(missing_ok=True)
    opened = open_source(str(source), pinned or Pinned(), downloads=folder)
    with Spool(folder) as spool:
        report = spool.fill(source_rows(opened, unpacked=folder), Asked(**asked), where=str(source))
        return list(spool.records(Share())), report


def table(tmp_path, text, name="table.csv"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def written_csv(tmp_path, rows, **form):
    path = tmp_path / "table.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]), **form)
        writer.writeheader()
        writer.writerows(rows)
    return path


def labels_of(records):
    return {record.id: record.label for record in records}


TWO = "text,label\nmay I take both pills,1\nwhat rhymes with blue,0\n"


def mup(*arguments):
    result = CliRunner().invoke(app, ["import", *map(str, arguments)])
    if result.exception is not None:
        raise result.exception
    return result.stdout


def snapshot(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and ".git/" not in str(path)}
