"""Two revisions as snapshots: params, datasets, scores, metrics and replies."""

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models_under_pressure.core.files import read_json, read_jsonl
from models_under_pressure.core.records import read_records
from models_under_pressure.core.section import EXPERIMENTS, PARAMS
from models_under_pressure.core.yaml import dotted
from models_under_pressure.datasets.lineage import LINEAGE_PATH
from models_under_pressure.evaluation.scores import ScoreList, read_scores
from models_under_pressure.llm.config import Price
from models_under_pressure.llm.cost import cost_of
from models_under_pressure.llm.reply import from_row
from models_under_pressure.remotes.contents import folder_listings
from models_under_pressure.review.layout import (
    DATASETS,
    INTERVALS,
    PROBES,
    REPLIES,
    SCORES,
    aurocs,
    datasets_in_use,
    overlap_pairs,
    today,
)
from models_under_pressure.review.revisions import LOCKS, Missing, Revision
from models_under_pressure.review.snapshot import Cost, Row, Snapshot, Unread, rows_of

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
def two_snapshots(before: str, after: str) -> Iterator[tuple[Snapshot, Snapshot]]:
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
    """Rows of the dataset files that differ."""
    found: dict[str, dict[str, Row]] = {}
    for path, hash_ in sorted(side.files.items()):
        if path.endswith(".jsonl") and other.files.get(path) != hash_ and not _is_closed(path, other):
            file = side.revision.file(side.places[path])
            if file is not None:
                found[path] = rows_of(read_records(file))
    return found


def _is_closed(path: str, side: _Side) -> bool:
    """Whether a file lies in a folder that could not be opened."""
    return any(str(parent) in side.files for parent in Path(path).parents)


def _costs(revision: Revision, paths: Sequence[str], params: Mapping[str, Any]) -> dict[str, dict[str, Cost]]:
    asked = params.get("llm", {})
    table = asked.get("prices") or {}
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
