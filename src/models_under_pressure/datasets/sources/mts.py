"""MTS-Dialog (`abachaa/MTS-Dialog`): doctor-patient dialogues with the section of the note they led to."""

from pathlib import Path

from models_under_pressure.core.records import Record
from models_under_pressure.core.tables import read_csv
from models_under_pressure.datasets.source import Dropped, Parsed, content_group, is_missing

FILES = {
    "validation": ("MTS-Dialog-ValidationSet.csv", "dev"),
    "training": ("MTS-Dialog-TrainingSet.csv", "dev"),
    "test_chat": ("MTS-Dialog-TestSet-1-MEDIQA-Chat-2023.csv", "test"),
    "test_sum": ("MTS-Dialog-TestSet-2-MEDIQA-Sum-2023.csv", "test"),
}
"""Prefix of the ids -> file and the split it feeds; both test files number from 0, so each has its own prefix."""
_COLUMNS = ("ID", "section_header", "section_text", "dialogue")


def parse(folder: Path) -> Parsed:
    """Read the four CSV files; the input is the context sentence followed by the dialogue."""
    records: list[Record] = []
    dropped: list[Dropped] = []
    for prefix, (name, split) in FILES.items():
        for _, row in read_csv(folder / name, _COLUMNS):
            id_ = f"{prefix}_{row['ID']}"
            if is_missing(row["dialogue"]):
                dropped.append(Dropped(id_, "no dialogue"))
                continue
            fields = {
                "original_id": row["ID"] if split == "dev" else id_.removeprefix("test_"),
                "section_header": row["section_header"],
                "section_text": row["section_text"],
                "dialogue": row["dialogue"],
                "group": content_group(row["dialogue"]),
                "source_split": split,
            }
            text = f"Context: {row['section_text']}\n{row['dialogue']}"
            records.append(Record(id=id_, input=text, fields=fields))
    return Parsed(records, dropped)
