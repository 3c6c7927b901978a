"""Aya red-teaming (`CohereForAI/aya_redteaming`): harmful prompts in four languages; test only."""

from pathlib import Path

from models_under_pressure.core.records import Record
from models_under_pressure.core.tables import read_csv
from models_under_pressure.datasets.source import Dropped, Parsed, content_group, is_missing


def parse(folder: Path) -> Parsed:
    """Read `aya_redteaming_dataset.csv`; rows without a prompt are refused."""
    records: list[Record] = []
    dropped: list[Dropped] = []
    path = folder / "aya_redteaming_dataset.csv"
    for _, row in read_csv(path, ("id", "prompt", "language", "harm_category")):
        if is_missing(row["prompt"]):
            dropped.append(Dropped(row["id"], "no prompt"))
            continue
        fields = {
            "language": row["language"],
            "harm_category": row["harm_category"],
            "group": content_group(row["prompt"]),
        }
        records.append(Record(id=row["id"], input=row["prompt"], fields=fields))
    return Parsed(records, dropped)
