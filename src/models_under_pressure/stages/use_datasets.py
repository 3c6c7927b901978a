"""Put the datasets in use, which have passed the overlap check, into data/datasets: all that later stages read."""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from models_under_pressure.core.concept import Classes, chosen_concept
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import file_hash, read_json, write_json, write_text
from models_under_pressure.core.paths import IN_USE, NO_CONTROL, ORIGINS, OVERLAPS
from models_under_pressure.core.records import Label, Record, read_records, write_records
from models_under_pressure.datasets.lineage import LINEAGE_PATH, InUse, load_lineage


def command() -> None:
    """Put the datasets in use, which have passed the overlap check, into one folder.

    Example: mup use_datasets
    """
    run(load_lineage().in_use, chosen_concept().classes, passed=read_json(OVERLAPS)["files"])


def run(in_use: Sequence[InUse], classes: Classes, *, passed: Mapping[str, str]) -> None:
    """Write data/datasets/<purpose>/<name>.jsonl, and nothing else is left there.

    Args:
        in_use: the datasets.
        classes: the words for their labels.
        passed: name -> hash of the file that `check_overlap` read.

    Raises:
        UserError: a file is missing, is not the one that was checked, or has labels of another concept; or a control
            set has others than the negative class.
    """
    for one in in_use:
        if not one.path.is_file() or passed.get(one.name) != file_hash(one.path):
            where, remedy = f"datasets.{one.purpose}.{one.name}", "run `dvc repro use_datasets`, which checks it first."
            problem = f"{one.path} is not the file that was checked for overlap."
            raise UserError(problem, where=f"{LINEAGE_PATH}: {where}", remedy=remedy)
    IN_USE.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=IN_USE.parent, prefix=".") as folder:
        new = Path(folder) / IN_USE.name
        for one in in_use:
            (new / one.purpose).mkdir(parents=True, exist_ok=True)
            file = new / one.purpose / f"{one.name}.jsonl"
            records = read_records(one.path, classes)
            if one.purpose == "control":
                _check_ordinary(records, classes, f"{LINEAGE_PATH}: datasets.control.{one.name}")
            if one.path.suffix == ".jsonl":
                shutil.copyfile(one.path, file)
            else:
                write_records(file, records)
        if all(one.purpose != "control" for one in in_use):
            write_text(new / NO_CONTROL, "No control set is in use: thresholds come from the validation split.\n")
        origins = {
            one.name: {
                "version": one.version,
                "file": one.path.as_posix(),
                "raw": one.raw.as_posix() if one.raw else None,
                "sha256": passed[one.name],
            }
            for one in in_use
        }
        write_json(new / ORIGINS.name, origins)
        shutil.rmtree(IN_USE, ignore_errors=True)
        new.rename(IN_USE)


def _check_ordinary(records: Sequence[Record], classes: Classes, where: str) -> None:
    others = [record.id for record in records if record.label is not Label.LOW]
    if others:
        problem = f"{len(others)} records of a control set are not labelled {classes.negative}, first {others[0]!r}."
        remedy = "a control set is ordinary traffic: take these rows out, or `mup datasets import --purpose control`."
        raise UserError(problem, where=where, remedy=remedy)
