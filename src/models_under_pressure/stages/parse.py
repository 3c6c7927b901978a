"""Read one source and divide it into dev and test."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from models_under_pressure.core.files import write_json
from models_under_pressure.core.records import write_records
from models_under_pressure.core.section import read
from models_under_pressure.datasets.files import divide, manifest_path, split_path
from models_under_pressure.datasets.origins import Source, load_source
from models_under_pressure.datasets.sources import PARSERS

RAW = Path("data/raw")
SOURCE = "source"
"""Name of the version that the parsed source is."""


def command(source: Annotated[str, typer.Argument(help="Name of the source, as in data/versions.yaml.")]) -> None:
    """Read one source and divide it into dev and test, whole groups at a time.

    Example: mup parse mt
    """
    run(source, config=load_source(source), seed=read("seed", int))


def run(name: str, *, config: Source, seed: int) -> None:
    """Write the version `source`: unlabelled records, and a manifest of the rows refused."""
    parsed = PARSERS[name](RAW / name)
    splits = divide(parsed.records, test_fraction=config.test_fraction, limit=config.limit, seed=seed)
    for split, records in splits.items():
        if split in config.splits:
            write_records(split_path(name, SOURCE, split), records)
    write_json(
        manifest_path(name, SOURCE),
        {
            "dataset": name,
            "version": SOURCE,
            "rows_parsed": len(parsed.records),
            "rows_drawn": {split: len(records) for split, records in splits.items()},
            "dropped": [asdict(row) for row in parsed.dropped],
        },
    )
