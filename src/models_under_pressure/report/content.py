"""What the report page shows, and where its numbers come from."""

import hashlib
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import read_json
from models_under_pressure.core.layers import layer_text
from models_under_pressure.core.paths import FIGURES, Dataset
from models_under_pressure.core.records import Record
from models_under_pressure.evaluation.report import Metrics
from models_under_pressure.evaluation.scores import ScoreList
from models_under_pressure.report.card import Card


@dataclass(frozen=True, slots=True)
class DatasetVersion:
    """An evaluated dataset and the version behind it."""

    name: str
    purpose: str
    version: str
    path: str
    rows: int
    labels: Mapping[str, int]
    """Label -> rows."""
    labelled_by: str
    content_hash: str
    """MD5 of the file, as dvc.lock has it."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart and what it says to someone who cannot see it."""

    name: str
    """Name of the file, which is part of the page's links."""
    title: str
    description: str
    """Finding, in a sentence or two."""
    specification: Mapping[str, Any]
    """Self-contained Vega-Lite, as `figures.render.spec` makes it."""


@dataclass(frozen=True, slots=True)
class WorstError:
    """A record that a probe got wrong."""

    dataset: str
    probe: str
    label: str
    probability: float
    """Probability of high stakes, by the probe."""
    record: Record
    """The conversation, and why the labeller labelled it so."""


@dataclass(frozen=True, slots=True)
class TokenMap:
    """A record and what a probe makes of each of its tokens."""

    dataset: str
    probe: str
    id: str
    label: str
    stakes: int | None
    """Stakes on the 1-10 scale."""
    logit: float
    probability: float
    choices: tuple[str, ...]
    """Reasons why the record is shown, such as `most_wrong`."""
    texts: tuple[str, ...]
    """Text of each token; a character made of several tokens stands at the last of them."""
    roles: tuple[str, ...]
    """Role of each token."""
    logits: tuple[float, ...]
    """Logit of each token on its own."""
    contributions: tuple[float, ...]
    """Contribution of each token to the record's logit, which they sum to."""
    seen: tuple[str, ...]
    """Roles that the probe sees."""


@dataclass(frozen=True)
class Report:
    """Everything on the page."""

    title: str
    summary: str
    """Account of what ran, in a sentence or two."""
    facts: Mapping[str, str]
    """Settings that define the run: model, revision, layer, hook point, seed."""
    metrics: Metrics
    """Dataset -> probe -> metric, with interval ends."""
    means: Metrics = field(default_factory=dict[str, Any])
    """Purpose -> probe -> metric: `evaluation.report.mean_over_datasets`."""
    groups: Mapping[str, Mapping[str, Metrics]] = field(default_factory=dict[str, Any])
    """Dataset -> probe -> attribute -> value -> metric."""
    datasets: Sequence[DatasetVersion] = ()
    figures: Sequence[Figure] = ()
    errors: Sequence[WorstError] = ()
    token_maps: Sequence[TokenMap] = ()
    cards: Sequence[Card] = ()
    provenance: Mapping[str, str] = field(default_factory=dict[str, str])
    """Origins of everything: hashes, revisions, library versions."""
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Dotted key -> value."""


def find_figure(name: str) -> Figure:
    """The figure of that name, whichever stage drew it.

    Raises:
        UserError: there is none, or it has no title.
    """
    found = sorted(FIGURES.glob(f"*/{name}.json"))
    if not found:
        raise UserError(
            f"no figure {name!r}.", where=str(FIGURES), remedy="run `dvc repro`, or correct the list of figures."
        )
    specification: dict[str, Any] = read_json(found[0])
    title: Any = specification.get("title")
    lines: Any = title["text"] if title and not isinstance(title, str) else title
    if not lines:
        remedy = "write it with figures.render.write_chart."
        raise UserError("the figure has no title.", where=str(found[0]), remedy=remedy)
    told = lines if isinstance(lines, str) else " ".join(lines)
    return Figure(name, told, specification.get("description", ""), specification)


def worst_errors(
    lists: Sequence[ScoreList], records: Mapping[str, Mapping[str, Record]], *, most: int = 3
) -> list[WorstError]:
    """The `most` records of each score list whose probability is farthest from their label, worst first.

    Only records on the wrong side of 0.5 count as errors. `records` is dataset -> id -> record.

    Raises:
        KeyError: a scored record is missing.
    """
    found: list[WorstError] = []
    for scores in lists:
        distance = np.abs(scores.probabilities - scores.labels)
        order = sorted(range(len(scores.ids)), key=lambda row: (-float(distance[row]), scores.ids[row]))
        for row in [row for row in order if distance[row] > 0.5][:most]:
            label = "high-stakes" if scores.labels[row] else "low-stakes"
            record = records[scores.dataset][scores.ids[row]]
            found.append(WorstError(scores.dataset, scores.probe, label, float(scores.probabilities[row]), record))
    return found


INPUTS = ("src", "dvc.yaml", "params.yaml", "data/versions.yaml")
"""Paths that people edit. Results are committed after the run, so that HEAD would differ between two equal runs."""

DEMO = "demo-authors"
"""Name of the demo corpus's labeller."""

_NAMES = {
    "model": "Model",
    "revision": "Model revision",
    "quantization": "Quantisation",
    "compute_dtype": "Computed in",
    "hook_point": "Hook point",
    "max_tokens": "Tokens read of a record, at most",
    "template_hash": "Chat template, hash",
    "tokenizer": "Tokenizer, fingerprint",
    "dataset": "Training data, hash of its content",
}


def notice(records: Iterable[Record]) -> str:
    """What a page must say of texts and labels by the project's authors; empty without any."""
    if all(record.scale_label_model != DEMO for record in records):
        return ""
    return (
        " Texts or labels were written by the project's authors: these figures show that the pipeline works, they "
        "are not results of the paper."
    )


def model_facts(origin: Mapping[str, Any], seed: int, commit: str) -> dict[str, str]:
    """The few settings that define a run, from the provenance of a probe."""
    revision = origin.get("revision")
    return {
        "Model": str(origin["model"]) + (f" at {str(revision)[:12]}" if revision else ""),
        "Layer": f"{layer_text(origin)} ({origin['hook_point']})",
        "Seed": str(seed),
        "Commit": commit,
    }


def provenance(origin: Mapping[str, Any], commit: str) -> dict[str, str]:
    """Hashes and revisions behind activations, from the provenance of a probe."""
    known = {told: str(origin[name]) for name, told in _NAMES.items() if origin.get(name) is not None}
    return {"Last commit of code, graph and parameters": commit} | known


def dataset_version(one: Dataset, version: str, records: Sequence[Record]) -> DatasetVersion:
    """A dataset in use: its version, labels, labellers, and the hash of its file."""
    labels = Counter(record.label.value if record.label else "not labelled" for record in records)
    labellers = Counter(record.scale_label_model or "not recorded" for record in records)
    return DatasetVersion(
        name=one.name,
        purpose=one.purpose,
        version=version,
        path=one.path.as_posix(),
        rows=len(records),
        labels=dict(sorted(labels.items())),
        labelled_by=", ".join(sorted(labellers)),
        content_hash=hashlib.md5(one.path.read_bytes(), usedforsecurity=False).hexdigest(),
    )


def commit_of(paths: Sequence[str] = INPUTS) -> str:
    """The last commit that changed `paths`, with its date, and whether they were edited since, in words."""
    if _git("rev-parse", "--is-shallow-repository") == "true":
        # git would name the oldest commit that the clone holds, whether it changed these paths or not
        return "unknown (a shallow clone)"
    found = _git("log", "-1", "--format=%H (%cs)", "--", *paths)
    if not found:
        return "none (not committed)"
    edited = _git("status", "--porcelain", "--", *paths)
    return f"{found}, with changes that are not committed" if edited else found


def _git(*arguments: str) -> str:
    """What git says; empty when there is no git or no repository."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, encoding="utf-8", check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
