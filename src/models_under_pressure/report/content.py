"""What the report page shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


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
    """Short and unique: part of the page's links."""
    title: str
    description: str
    """The finding, in a sentence or two."""
    specification: Mapping[str, Any]
    """Self-contained Vega-Lite, as `figures.render.spec` makes it."""


@dataclass(frozen=True, slots=True)
class WorstError:
    """A record that a probe got wrong, with why the labeller labelled it so."""

    dataset: str
    probe: str
    id: str
    label: str
    probability: float
    """Of high stakes, by the probe."""
    text: str
    scale_label: int | None
    explanation: str | None
    labeller: str | None


@dataclass(frozen=True, slots=True)
class TokenMap:
    """A record and what a probe makes of each of its tokens."""

    dataset: str
    probe: str
    id: str
    label: str
    stakes: int | None
    """On the 1-10 scale."""
    logit: float
    probability: float
    choices: tuple[str, ...]
    """Why it is shown, such as `most_wrong`."""
    texts: tuple[str, ...]
    """Of each token; a character made of several tokens stands at the last of them."""
    roles: tuple[str, ...]
    logits: tuple[float, ...]
    """Logit of each token on its own."""
    contributions: tuple[float, ...]
    """What each token adds to the record's logit, which they sum to."""
    seen: tuple[str, ...]
    """Roles that the probe sees."""


@dataclass(frozen=True)
class Report:
    """Everything on the page."""

    title: str
    summary: str
    """What ran, in a sentence or two."""
    facts: Mapping[str, str]
    """The few settings that define the run: model, revision, layer, hook point, seed."""
    metrics: Mapping[str, Mapping[str, Mapping[str, Any]]]
    """Dataset -> probe -> metric, with interval ends."""
    means: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    """Purpose -> probe -> metric: `evaluation.summary.mean_over_datasets`."""
    groups: Mapping[str, Mapping[str, Mapping[str, Mapping[str, Mapping[str, Any]]]]] = field(default_factory=dict)
    """Dataset -> probe -> attribute -> value -> metric."""
    datasets: Sequence[DatasetVersion] = ()
    figures: Sequence[Figure] = ()
    errors: Sequence[WorstError] = ()
    token_maps: Sequence[TokenMap] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)
    """Where everything comes from: hashes, revisions, library versions."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """Dotted key -> value."""
