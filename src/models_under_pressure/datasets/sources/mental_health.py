"""Mental-health posts (Kaggle compilation `combined_data.csv`): short social-media texts; test only."""

from collections import Counter
from pathlib import Path

from models_under_pressure.core.records import Record
from models_under_pressure.core.tables import read_csv
from models_under_pressure.datasets.source import Dropped, Parsed, content_group, is_missing


def parse(folder: Path) -> Parsed:
    """Read `combined_data.csv`; rows without a statement are refused; a repeated id gets a number."""
    records: list[Record] = []
    dropped: list[Dropped] = []
    seen: Counter[str] = Counter()
    for _, row in read_csv(folder / "combined_data.csv", ("id", "statement", "status")):
        seen[row["id"]] += 1
        id_ = row["id"] if seen[row["id"]] == 1 else f"{row['id']}_{seen[row['id']]}"
        text = row["statement"]
        if is_missing(text):
            dropped.append(Dropped(id_, f"statement is {text.strip() or 'empty'}"))
            continue
        fields = {"status": row["status"], "group": content_group(text)}
        records.append(Record(id=id_, input=text, fields=fields))
    return Parsed(records, dropped)
