"""Stage `parse`: read one source and divide it into dev and test."""

from dataclasses import asdict
from pathlib import Path

from models_under_pressure.core.files import write_json
from models_under_pressure.core.records import write_records
from models_under_pressure.datasets.files import manifest_path, split_path
from models_under_pressure.datasets.sources.registry import PARSERS
from models_under_pressure.datasets.splits import divide

RAW = Path("data/raw")


def run(source: str, *, test_fraction: float, limit: int | None, seed: int) -> None:
    """Write the version `source`: unlabelled records, and a manifest of the rows refused."""
    parsed = PARSERS[source](RAW / source)
    splits = divide(parsed.records, test_fraction=test_fraction, limit=limit, seed=seed)
    for split, records in splits.items():
        if records or test_fraction < 1:
            write_records(split_path(source, "source", split), records)
    write_json(
        manifest_path(source, "source"),
        {
            "dataset": source,
            "version": "source",
            "rows_parsed": len(parsed.records),
            "rows_drawn": {split: len(records) for split, records in splits.items()},
            "dropped": [asdict(row) for row in parsed.dropped],
        },
    )
