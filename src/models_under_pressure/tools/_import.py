"""`mup datasets import`: somebody's table taken into use, all of it or nothing."""

import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from models_under_pressure.core.concept import chosen_concept
from models_under_pressure.core.display import notice, printable
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import file_hash, write_jsonl
from models_under_pressure.core.paths import PURPOSES, Purpose
from models_under_pressure.core.records import read_records
from models_under_pressure.core.section import edit_yaml, load_plain, read
from models_under_pressure.datasets.columns import Asked
from models_under_pressure.datasets.importing import Report, Share, Spool, compare
from models_under_pressure.datasets.lineage import LINEAGE_PATH, Lineage, load_lineage
from models_under_pressure.datasets.origins import DOWNLOADS
from models_under_pressure.datasets.overlap import CheckOverlap, Part
from models_under_pressure.datasets.tables import Pinned, open_source, source_rows

OWN = Path("data/own")
REMOTE = "datasets"
"""DVC's remote that holds datasets; the default one is for activations."""
_SINGLE = ("train", "validation", "control")
"""Purposes of which there is one dataset: a new one takes its place."""
_SHOWN = 5
"""Refused rows and contradictions that are printed; `--format json` has more."""

Text = Annotated[str | None, typer.Option(help="Column of the text; guessed by its name if not given.")]
Messages = Annotated[str | None, typer.Option(help="Column of chat messages, as lists, JSON or Python lists.")]
LabelColumn = Annotated[str | None, typer.Option("--label", help="Column of the label.")]
Positive = Annotated[list[str] | None, typer.Option(help="Value of the label that is positive; repeatable.")]
Id = Annotated[str | None, typer.Option("--id", help="Column of ids.")]
Group = Annotated[str | None, typer.Option(help="Column of groups: rows that must stay in one split.")]


def command(
    source: Annotated[
        str, typer.Argument(help="File (CSV, TSV, Parquet, JSON Lines), folder, https address, or hf://owner/name.")
    ],
    name: Annotated[str, typer.Option("--as", help="Name of the dataset: letters, digits and _.")],
    purpose: Annotated[
        str, typer.Option(help="train, validation, dev, test or control; or shares, such as train=0.6,dev=0.4.")
    ] = "dev",
    text: Text = None,
    messages: Messages = None,
    label: LabelColumn = None,
    positive: Positive = None,
    id_: Id = None,
    group: Group = None,
    sha256: Annotated[str | None, typer.Option(help="Hash that the file must have.")] = None,
    revision: Annotated[str | None, typer.Option(help="Commit, tag or branch of a hub dataset.")] = None,
    config: Annotated[str | None, typer.Option(help="Config of a hub dataset.")] = None,
    split: Annotated[str | None, typer.Option(help="Split of a hub dataset.")] = None,
    allow_refused: Annotated[bool, typer.Option(help="Leave out rows that cannot be used.")] = False,
    replace: Annotated[bool, typer.Option(help="Write over a dataset of this name.")] = False,
    alone: Annotated[
        bool, typer.Option(help="Take every other dataset out of use, and the sources and versions of all.")
    ] = False,
    dry_run: Annotated[bool, typer.Option(help="Only report what would be written.")] = False,
    form: Annotated[Literal["text", "json"], typer.Option("--format", help="How to print the report.")] = "text",
) -> None:
    """Take a table of labelled text into use: records in data/own, tracked by DVC, and the entry in data/versions.yaml.

    Example: mup datasets import reviews.csv --as reviews --purpose dev --positive harmful

    Example: mup datasets import hf://owner/name --as name --split test --revision main

    Example: mup datasets import traffic.jsonl --as traffic --purpose control
    """
    asked = Asked(text, messages, label, tuple(positive or ()), id_, group, ordinary=purpose == "control")
    lineage, parts = load_lineage(), divided(name, purpose, seed=read("seed", int))
    pinned = Pinned(sha256, revision, config, split)
    with tempfile.TemporaryDirectory() as folder, Spool(Path(folder), chosen_concept().classes) as spool:
        downloads = Path(folder) if dry_run else DOWNLOADS
        opened = open_source(source, pinned, downloads=downloads)
        report = spool.fill(source_rows(opened, unpacked=Path(folder)), asked, where=source)
        overlaps = {} if alone else _overlaps(spool, parts, lineage)
        _print(report, opened.origin, overlaps, form)
        if report.refused and not allow_refused:
            raise UserError(
                f"{sum(report.refused.values()):,} of {report.rows:,} rows cannot be used; nothing is written.",
                where=source,
                remedy="mend them, or leave them out with --allow-refused.",
            )
        if not dry_run:
            told = dict(opened.origin) | {"columns": report.columns, "labels": report.meanings}
            for line in _write(spool, parts, told | _counts(report), replace=replace, alone=alone):
                (print if form == "text" else notice)(line)
            for file in opened.files:
                if file.is_relative_to(DOWNLOADS):
                    file.unlink()


def divided(name: str, purpose: str, *, seed: int) -> dict[Purpose, tuple[str, Share]]:
    """Purpose -> name of its dataset and share of the rows.

    Raises:
        UserError: a purpose is unknown, or the shares do not add up to 1.
    """
    if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
        raise UserError(f"{name!r} is no word.", where="--as", remedy="use letters, digits and _.")
    asked = {one.strip(): share for one, _, share in (part.partition("=") for part in purpose.split(","))}
    try:
        sizes = {one: float(share) if share or len(asked) > 1 else 1.0 for one, share in asked.items()}
    except ValueError:
        sizes = {}
    chosen: list[Purpose] = [one for one in PURPOSES if sizes.get(one)]
    if len(chosen) < len(asked) or abs(sum(sizes.values()) - 1) > 1e-6 or min(sizes.values()) <= 0:
        remedy = f"name one of {', '.join(PURPOSES)}, or shares that add up to 1: train=0.6,validation=0.2,test=0.2."
        raise UserError(f"{purpose!r} is no purpose.", where="--purpose", remedy=remedy)
    if "control" in chosen and len(chosen) > 1:
        problem = "a control set is ordinary traffic without labels, not a share of a labelled table."
        raise UserError(problem, where="--purpose", remedy="import it by itself: --purpose control.")
    ends = [0.0, *accumulate(sizes[one] for one in chosen[:-1]), 1.0]
    return {
        one: (name if len(chosen) == 1 else f"{name}_{one}", Share(low, high, seed))
        for one, low, high in zip(chosen, ends, ends[1:], strict=False)
    }


def _overlaps(
    spool: Spool, parts: Mapping[Purpose, tuple[str, Share]], lineage: Lineage
) -> dict[str, dict[str, int] | None]:
    """Name of each new dataset -> dataset in use for another purpose -> shared pairs; None where not compared."""
    found: dict[str, dict[str, int] | None] = {}
    for purpose, (name, share) in parts.items():
        leaving = [one for one in parts if one in _SINGLE]
        others = [one for one in lineage.in_use if one.purpose not in {purpose, *leaving} and one.name != name]
        if absent := [one.name for one in others if not one.path.is_file()]:
            notice(f"not compared with {', '.join(absent)}: `dvc repro` has not made them yet")
        held = [
            Part(one.name, "in use", read_records(one.path, None), dataset=one.name)
            for one in others
            if one.path.is_file()
        ]
        found[name] = compare(spool.records(share), held, name=name, config=read("check_overlap", CheckOverlap))
    return found


def _write(
    spool: Spool,
    parts: Mapping[Purpose, tuple[str, Share]],
    told: dict[str, Any],
    *,
    replace: bool,
    alone: bool,
) -> list[str]:
    """Write the record files, let DVC track them, and name them in data/versions.yaml; what was done, to be printed."""
    with tempfile.TemporaryDirectory(dir=OWN.parent, prefix=".import") as folder:
        new: dict[Path, Path] = {}
        counts: dict[str, str] = {}
        for name, share in parts.values():
            target = OWN / f"{name}.jsonl"
            new[target] = Path(folder) / target.name
            write_jsonl(new[target], spool.rows(share))
            labels = Counter(row["labels"] for row in spool.rows(share))
            if len(labels) < 2 and "control" not in parts:
                problem = f"of both classes it would get {_listed(labels)}."
                raise UserError(problem, where=str(target), remedy="give it a larger share in --purpose.")
            counts[name] = _listed(labels)
            _check_new(target, new[target], told, replace=replace)
        sidecars = [path.with_name(f"{path.name}.dvc") for path in new]
        with _all_or_nothing([*new, *sidecars, OWN / ".gitignore", LINEAGE_PATH], Path(folder) / "before"):
            for target, file in new.items():
                file.replace(target)
            _track(list(new))
            for sidecar in sidecars:
                with edit_yaml(sidecar) as content:
                    content["outs"][0]["remote"] = REMOTE
                    content["meta"] = {"import": told}
            _use(parts, alone=alone)
    lines = [
        f"written        {OWN / name}.jsonl, in use for {purpose}: {counts[name]}"
        for purpose, (name, _) in parts.items()
    ]
    return [*lines, f"next           git add {OWN} {LINEAGE_PATH}, then dvc repro"]


def _check_new(target: Path, new: Path, told: Mapping[str, Any], *, replace: bool) -> None:
    if not target.exists() or replace or file_hash(target) == file_hash(new):
        return
    sidecar = target.with_name(f"{target.name}.dvc")
    tracked: dict[str, Any] = load_plain(sidecar) if sidecar.is_file() else {}
    before: dict[str, Any] = tracked.get("meta", {}).get("import", {})
    changed = [
        f"its {what} was {before[what]} and is {told.get(what)}"
        for what in ("source", "sha256", "revision")
        if what in before and before[what] != told.get(what)
    ]
    problem = f"there is a dataset of this name with other content{': ' + '; '.join(changed) if changed else ''}."
    remedy = "write over it with --replace, choose another --as, or pin the --revision or --sha256 that it was made of."
    raise UserError(problem, where=str(target), remedy=remedy)


@contextmanager
def _all_or_nothing(paths: Sequence[Path], aside: Path) -> Generator[None]:
    """Bring files back as they were if the block fails."""
    aside.mkdir()
    kept = {path: aside / f"{number}" for number, path in enumerate(paths) if path.exists()}
    for path, copy in kept.items():
        if path.suffix == ".jsonl":
            path.replace(copy)
        else:
            copy.write_bytes(path.read_bytes())
    try:
        yield
    except BaseException:
        for path in paths:
            path.unlink(missing_ok=True)
        for path, copy in kept.items():
            copy.replace(path)
        raise


def _track(files: Sequence[Path]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "add", "--", *map(str, files)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1].removeprefix("ERROR: ")
        raise UserError(
            f"`dvc add` failed ({reason}).", where=str(files[0]), remedy="`mup doctor` looks for the cause."
        )


def _use(parts: Mapping[Purpose, tuple[str, Share]], *, alone: bool) -> None:
    with edit_yaml(LINEAGE_PATH) as content:
        datasets = content["datasets"]
        if alone:
            content["sources"], content["versions"] = {}, {}
        for purpose in PURPOSES:
            if purpose in parts and (alone or purpose in _SINGLE):
                datasets[purpose] = {}
            elif alone and purpose in datasets:
                del datasets[purpose]
        for purpose, (name, _) in parts.items():
            datasets.setdefault(purpose, {})[name] = (OWN / f"{name}.jsonl").as_posix()
    load_lineage()


def _counts(report: Report) -> dict[str, Any]:
    return {"rows": report.rows, "refused": dict(sorted(report.refused.items()))}


def _print(
    report: Report,
    origin: Mapping[str, Any],
    overlaps: Mapping[str, Mapping[str, int] | None],
    form: Literal["text", "json"],
) -> None:
    if form == "json":
        found = {"origin": dict(origin), **asdict(report), "overlaps": overlaps}
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return
    lines = [
        ("source", ", ".join(f"{name} {value}" for name, value in origin.items() if name != "source")),
        ("columns", ", ".join(f"{meaning} = {column}" for meaning, column in report.columns.items())),
        ("classes", ", ".join(f"{word} = {label}" for word, label in report.meanings.items())),
        ("rows", f"{report.rows:,} read, {report.records:,} kept"),
        ("labels", _listed(report.labels)),
        ("repaired", _listed(report.repaired)),
        ("refused", _listed(report.refused)),
        *(("", line) for line in report.refused_rows[:_SHOWN]),
        ("duplicates", f"{report.duplicates:,} rows repeat the text of another"),
        ("contradictory", f"{report.contradictory:,} texts have both labels"),
        *(("", f"rows {', '.join(ids[:_SHOWN])}") for ids in report.contradictions[:_SHOWN]),
    ]
    for name, pairs in overlaps.items():
        told = "too many rows to compare here; `dvc repro check_overlap` does" if pairs is None else _listed(pairs)
        lines.append(("overlaps", f"{name}: {told} (pairs with datasets in use for other purposes)"))
    for head, line in lines:
        print(printable(f"{head:14} {line}"))


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{what} {count:,}" for what, count in sorted(counts.items())) or "none"
