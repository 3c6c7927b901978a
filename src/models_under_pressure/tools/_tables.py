"""The labelled tables of `mup fit`: each read as `mup datasets import` reads it, and compared with the first one."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from models_under_pressure.core.concept import Classes
    from models_under_pressure.core.records import Record
    from models_under_pressure.datasets.columns import Asked


@dataclass(frozen=True)
class Table:
    """One of the files."""

    name: str
    path: Path
    """Its records, written for the extraction."""
    records: tuple["Record", ...]

    @property
    def classes(self) -> "Classes":
        """The words for its labels."""
        return self.records[0].classes


def read_tables(sources: Sequence[str], asked: "Asked", folder: Path, *, allow_refused: bool) -> list[Table]:
    """Read the files, each under a name of its own; rows that share a text are one group.

    Raises:
        UserError: a row cannot be used and that is not allowed; or see `Spool.fill`.
    """
    from models_under_pressure.core.concept import chosen_concept
    from models_under_pressure.core.display import notice
    from models_under_pressure.core.errors import UserError
    from models_under_pressure.core.records import write_records
    from models_under_pressure.core.section import PARAMS
    from models_under_pressure.datasets.importing import Share, Spool
    from models_under_pressure.datasets.source import content_group, core_text, with_column
    from models_under_pressure.datasets.tables import Pinned, open_source, source_rows

    tables: list[Table] = []
    classes = chosen_concept().classes if PARAMS.exists() else None
    for source in sources:
        below = folder / str(len(tables))
        below.mkdir()
        with Spool(below, classes) as spool:
            opened = open_source(source, Pinned(), downloads=below)
            report = spool.fill(source_rows(opened, unpacked=below), asked, where=source)
            refused = sum(report.refused.values())
            if refused and not allow_refused:
                problem = f"{refused:,} of {report.rows:,} rows cannot be used, first {report.refused_rows[0]}"
                raise UserError(problem, where=source, remedy="mend them, or leave them out with --allow-refused.")
            records = tuple(
                with_column(one, group=content_group(core_text(one))) if one.group == one.id else one
                for one in spool.records(Share())
            )
        classes = spool.classes
        taken = ", ".join(f"{meaning} = {column}" for meaning, column in report.columns.items())
        counts = ", ".join(f"{label} {count:,}" for label, count in report.labels.items())
        notice(f"{source}: {taken}; {counts}" + (f"; {refused:,} rows left out" if refused else ""))
        stem = Path(source).stem or "data"
        name = stem if stem not in {table.name for table in tables} else f"{stem}_{len(tables)}"
        path = below / f"{name}.jsonl"
        write_records(path, records)
        tables.append(Table(name, path, records))
    _warn_of_overlap(tables)
    return tables


def _warn_of_overlap(tables: Sequence[Table]) -> None:
    from models_under_pressure.core.display import notice
    from models_under_pressure.datasets.importing import compare
    from models_under_pressure.datasets.overlap import OverlapConfig, Part

    train = Part(tables[0].name, "train", tables[0].records)
    config = OverlapConfig(jaccard=0.8, shingle_words=3, containment_words=8)
    for table in tables[1:]:
        pairs = compare(table.records, [train], name=table.name, config=config)
        if pairs is None:
            notice(f"{table.name}: too many rows to look for what it shares with {train.name}")
        elif pairs:
            notice(
                f"warning: {table.name} shares {pairs.total():,} pairs of rows with {train.name}: its metrics flatter"
            )
