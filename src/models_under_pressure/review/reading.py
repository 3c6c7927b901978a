"""Two revisions as snapshots: params, datasets, scores, metrics and replies."""

import re
import tempfile
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from models_under_pressure.core.files import is_object, read_json, read_jsonl
from models_under_pressure.core.paths import PURPOSES
from models_under_pressure.core.records import read_records
from models_under_pressure.core.section import EXPERIMENTS, PARAMS, dotted
from models_under_pressure.datasets.files import split_path
from models_under_pressure.datasets.lineage import LINEAGE_PATH
from models_under_pressure.evaluation.scores import ScoreList, read_scores
from models_under_pressure.llm.config import Price, cost_of
from models_under_pressure.llm.reply import from_row
from models_under_pressure.remotes.contents import folder_listings
from models_under_pressure.review.changes import Cost, Row, Snapshot, Unread, rows_of
from models_under_pressure.review.revisions import LOCKS, Missing, Revision

DATASETS = ("data/evals/", "data/training/", "data/deployment/")
SCORES = ("data/results/scores/", "data/experiments/scores/")
REPLIES = "data/replies/"
PROBES = "data/probes/"
INTERVALS = ("metrics/intervals.json", "metrics/experiments_intervals.json")

_OLD_EVALS = re.compile(r"data/evals/(?:dev|test)/((\w+?)(?:_test)?_(?:raw|balanced|samples)_(\w+)\.jsonl)")


class Used(NamedTuple):
    """A dataset in use."""

    path: str
    purpose: str


def today(path: str) -> str:
    """Where a dataset file of an old commit would lie today: in the folder of its version."""
    found = _OLD_EVALS.fullmatch(path)
    return f"data/evals/{found[2]}_{found[3]}/{found[1]}" if found else path


def datasets_in_use(lineage: Mapping[str, Any]) -> dict[str, Used]:
    """Name -> file and purpose, from data/versions.yaml of either form."""
    section: Mapping[str, Any] = lineage.get("datasets") or {}
    if all(is_object(entry) and entry.keys() == {"path", "purpose"} for entry in section.values()):
        return {name: Used(today(entry["path"]), entry["purpose"]) for name, entry in section.items()}
    names: Mapping[str, Any] = lineage.get("sources") or {}
    sources = sorted(names, key=len, reverse=True)
    by_purpose: dict[str, dict[str, str]] = {purpose: section.get(purpose) or {} for purpose in PURPOSES}
    return {
        name: Used(_file(value, purpose, sources), purpose)
        for purpose, files in by_purpose.items()
        for name, value in files.items()
    }


def aurocs(metrics: Mapping[str, Any]) -> dict[str, dict[str, dict[str, Any]]]:
    """Dataset -> method -> metrics, from metrics/evaluate.json of either form."""
    values = metrics.get("auroc")
    if is_object(values) and all(
        isinstance(value, float | int) for methods in values.values() for value in methods.values()
    ):
        return {name: {method: {"auroc": one} for method, one in methods.items()} for name, methods in values.items()}
    return {name: dict(methods) for name, methods in metrics.items()}


def overlap_pairs(overlap: Mapping[str, Any]) -> dict[str, int]:
    """Version -> pairs of overlapping rows, from metrics/overlap.json of either form."""
    return {name: found["pairs"] if isinstance(found, dict) else found for name, found in overlap.items()}


def _file(value: str, purpose: str, sources: list[str]) -> str:
    """Path of a file, or of the balanced split of a version."""
    source = next((name for name in sources if value.startswith(f"{name}_")), None)
    if source is None or "/" in value or value.endswith(".jsonl"):
        return value
    return split_path(source, value.removeprefix(f"{source}_"), purpose, kind="balanced").as_posix()


_COMPUTED = ("compute_dtype", "quantization", "device")
"""Of what a probe recorded: what moves numbers without a change of code or data."""


@dataclass(frozen=True)
class _Side:
    """A revision, and its dataset files by the place that they have today."""

    revision: Revision
    outputs: Mapping[str, str]
    files: Mapping[str, str]
    """Path today of a file, or of a folder that was not opened -> hash."""
    places: Mapping[str, str]
    """Path today of a file -> its path in this revision."""


@contextmanager
def two_snapshots(before: str, after: str) -> Generator[tuple[Snapshot, Snapshot], None, None]:
    """Read two revisions; dataset rows and replies only where their hashes differ.

    Raises:
        UserError: a revision does not exist, or one of its files is malformed.
    """
    with tempfile.TemporaryDirectory() as folder:
        first, second = _sides(Revision(before, Path(folder, "before")), Revision(after, Path(folder, "after")))
        yield _snapshot(first, second), _snapshot(second, first)


def _sides(*revisions: Revision) -> tuple[_Side, _Side]:
    """Both revisions; folders that differ are opened where both listings are in reach."""
    first, second = (revision.outputs() for revision in revisions)
    changed = {
        path for path in {**first, **second} if first.get(path) != second.get(path) and f"{path}/".startswith(DATASETS)
    }
    hashes = {hash_ for side in (first, second) for path in changed if (hash_ := side.get(path, "")).endswith(".dir")}
    listings = folder_listings(hashes, root=Path())
    opened = {path for path in changed if all(side[path] in listings for side in (first, second) if path in side)}
    return _side(revisions[0], first, opened, listings), _side(revisions[1], second, opened, listings)


def _side(
    revision: Revision, outputs: Mapping[str, str], opened: set[str], listings: Mapping[str, Mapping[str, str]]
) -> _Side:
    files: dict[str, str] = {}
    places: dict[str, str] = {}
    for path, hash_ in outputs.items():
        if not f"{path}/".startswith(DATASETS):
            continue
        inside = {f"{path}/{name}": one for name, one in listings[hash_].items()} if path in opened else {path: hash_}
        for place, one in inside.items():
            if place.endswith(".jsonl") or one.endswith(".dir"):
                files[today(place)], places[today(place)] = one, place
    return _Side(revision, outputs, files, places)


def _snapshot(side: _Side, other: _Side) -> Snapshot:
    revision = side.revision
    params, lineage = revision.yaml(str(PARAMS)), revision.yaml(LINEAGE_PATH.as_posix())
    experiments = dotted(revision.yaml(EXPERIMENTS.as_posix()))
    used = datasets_in_use(lineage)
    metrics, contents = _metrics(revision)
    changed = {path for path in {**side.outputs, **other.outputs} if side.outputs.get(path) != other.outputs.get(path)}
    scores, rows = _scores(side), _rows(side, other)
    costs = _costs(revision, sorted(path for path in side.outputs.keys() & changed if path.startswith(REPLIES)), params)
    return Snapshot(
        name=revision.name,
        commit=revision.commit,
        params=dotted(params) | dotted(lineage) | {f"experiments:{key}": value for key, value in experiments.items()},
        files=side.files,
        rows=rows,
        datasets={name: one.path for name, one in used.items()},
        contents=contents,
        purposes={name: one.purpose for name, one in used.items()},
        scores=scores,
        metrics=metrics,
        overlap=overlap_pairs(revision.json("metrics/overlap.json")),
        costs=costs,
        unread=_unread(revision.missing),
        computed=_computed(side, changed),
        missing=() if side.outputs else [f"{revision.name} has no {LOCKS[0]}: nothing had been run there"],
    )


def _metrics(revision: Revision) -> tuple[dict[str, dict[str, dict[str, Any]]], dict[str, str]]:
    """AUROC and intervals of each dataset and method, and the hashes of the datasets' files."""
    found = aurocs(revision.json("metrics/evaluate.json"))
    contents: dict[str, str] = {}
    for path in INTERVALS:
        for name, known in revision.json(path).items():
            contents[name] = known["content"]
            methods = found.setdefault(name, {})
            for method, row in known["methods"].items():
                methods[method] = methods.get(method, {}) | row
    return found, contents


def _scores(side: _Side) -> list[ScoreList]:
    paths = sorted(path for path in side.outputs if path.startswith(SCORES))
    return [scores for path in paths if (found := side.revision.file(path)) for scores in read_scores(found)]


def _rows(side: _Side, other: _Side) -> dict[str, dict[str, Row]]:
    """Rows of the dataset files that differ, but for those in a folder that could not be opened."""
    found: dict[str, dict[str, Row]] = {}
    for path, hash_ in sorted(side.files.items()):
        closed = any(str(parent) in other.files for parent in Path(path).parents)
        if path.endswith(".jsonl") and other.files.get(path) != hash_ and not closed:
            file = side.revision.file(side.places[path])
            if file is not None:
                found[path] = rows_of(read_records(file, None))
    return found


def _costs(revision: Revision, paths: Sequence[str], params: Mapping[str, Any]) -> dict[str, dict[str, Cost]]:
    asked = params.get("llm", {})
    table: Mapping[str, Any] = asked.get("prices") or {}
    price = Price.model_validate(table[asked["model"]]) if asked.get("model") in table else None
    costs: dict[str, dict[str, Cost]] = {}
    for path in paths:
        found = revision.file(path)
        for _, row in read_jsonl(found) if found else ():
            usage = from_row(row).usage
            tokens = (usage.input_tokens, usage.output_tokens) if usage else (0, 0)
            costs.setdefault(Path(path).stem, {})[row["key"]] = Cost(1, *tokens, cost_of(usage, price))
    return costs


def _unread(missing: Sequence[Missing]) -> dict[Unread, int]:
    kinds: Mapping[Unread, tuple[str, ...]] = {"scores": SCORES, "dataset files": DATASETS, "replies": (REPLIES,)}
    counts: Counter[Unread] = Counter()
    for one in missing:
        counts.update(kind for kind, places in kinds.items() if one.path.startswith(places))
    return dict(counts)


def _computed(side: _Side, changed: set[str]) -> dict[str, Any]:
    """What the first probe that changed says of its forward pass; empty when its files are out of reach."""
    folders = {path: side.outputs[path] for path in sorted(side.outputs.keys() & changed) if path.startswith(PROBES)}
    listings = folder_listings(folders.values(), root=Path())
    for path, hash_ in folders.items():
        for name in sorted(listings.get(hash_, {})):
            if Path(name).name == "probe.json" and (found := side.revision.file(f"{path}/{name}")):
                provenance: dict[str, Any] = read_json(found).get("provenance", {})
                return {key: provenance[key] for key in _COMPUTED if key in provenance}
    return {}
