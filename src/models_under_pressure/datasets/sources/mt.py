"""Medical transcriptions (`NickyNicky/medical_mtsamples`): dictated clinical notes."""

from pathlib import Path

from models_under_pressure.core.records import Record
from models_under_pressure.core.tables import read_csv
from models_under_pressure.datasets.source import Dropped, Parsed, content_group, is_missing

_COLUMNS = ("Unnamed: 0", "description", "medical_specialty", "sample_name", "transcription", "keywords")


def parse(folder: Path) -> Parsed:
    """Read `mtsamples.csv`; rows without a transcription are refused.

    The source lists one transcription under several specialties; such rows share a `group`.
    """
    records: list[Record] = []
    dropped: list[Dropped] = []
    for _, row in read_csv(folder / "mtsamples.csv", _COLUMNS):
        id_, text = row["Unnamed: 0"], row["transcription"]
        if is_missing(text):
            dropped.append(Dropped(id_, "no transcription"))
            continue
        fields = {name: row[name] for name in ("description", "medical_specialty", "sample_name")}
        fields |= {"keywords": row["keywords"] or None, "transcription": text, "group": content_group(text)}
        records.append(Record(id=id_, input=text, fields=fields))
    return Parsed(records, dropped)
