"""The report: one HTML file without a network, readable by keyboard, screen reader, in the dark and on paper."""

import base64
import functools
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from models_under_pressure.core.concept import PAPER, Words
from models_under_pressure.core.display import template
from models_under_pressure.core.files import canonical_json
from models_under_pressure.evaluation.limits import LIMITS
from models_under_pressure.evaluation.report import AT_STORED, Metrics
from models_under_pressure.report.card import POINTS
from models_under_pressure.report.content import Report, TokenMap

_LEVELS = 4
"""Shades on either side of none."""
_SATURATED = 0.97
"""Share of the tokens shown whose numbers the scale tells apart."""
_STRONGEST = 4
"""Tokens of a record that are told in words, for readers who see neither shades nor tooltips."""


@dataclass(frozen=True)
class Scale:
    """A scale from numbers to shades: level k stands for k steps, and the outermost for all beyond."""

    name: str
    """Name in classes and ids."""
    told: str
    """Name in words."""
    step: float
    """Logits from one level to the next."""

    def shade(self, value: float) -> str:
        """The class of a number's shade."""
        level = min(_LEVELS, math.floor(abs(value) / self.step + 0.5))
        return self._class(level if value > 0 else -level)

    @property
    def swatches(self) -> list[dict[str, str]]:
        """The shades of the legend, with what each stands for."""
        found: list[dict[str, str]] = []
        for level in range(-_LEVELS, _LEVELS + 1):
            edge = {-_LEVELS: " or less", _LEVELS: " or more"}.get(level, "")
            number = f"{level * self.step:+.3g}".replace("-", "−") if level else "0"
            found.append({"shade": self._class(level), "told": number + edge})
        return found

    def _class(self, level: int) -> str:
        """`a` for the own logit, `c` for the contribution; `p` towards the positive class, `n` towards the negative."""
        sign = "p" if level > 0 else "n" if level < 0 else "z"
        return f"{'a' if self.name == 'alone' else 'c'}-{sign}{abs(level)}"


def token_maps(maps: Sequence[TokenMap], words: Words = PAPER) -> str:
    """Every record as a heat map, the first one open; empty without records."""
    if not maps:
        return ""
    seen = [(one, index) for one in maps for index, role in enumerate(one.roles) if role in one.seen]
    shades = (
        Scale("alone", "the token's own logit", _step([one.logits[index] for one, index in seen])),
        Scale("added", "what it adds to the record's logit", _step([one.contributions[index] for one, index in seen])),
    )
    return template("models_under_pressure.report", "tokens.html.jinja").render(
        words=words,
        probes=", ".join(dict.fromkeys(one.probe for one in maps)),
        shades=shades,
        datasets=list(dict.fromkeys(one.dataset for one in maps)),
        choices=list(dict.fromkeys(choice for one in maps for choice in one.choices)),
        maps=[{"record": one, "strongest": _strongest(one), "turns": _turns(one, shades)} for one in maps],
    )


def _step(values: Sequence[float]) -> float:
    """1, 2 or 5 times a power of ten, so that about `_SATURATED` of the numbers lie within the last level."""
    ordered = sorted(abs(value) for value in values)
    reach = (ordered[int(_SATURATED * (len(ordered) - 1))] if ordered else 0.0) / _LEVELS
    if reach <= 0.0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(reach))
    return next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= reach * 0.999)


def _strongest(one: TokenMap) -> str:
    order = sorted(range(len(one.texts)), key=lambda index: (-abs(one.contributions[index]), index))[:_STRONGEST]
    return ", ".join(
        f"“{one.texts[index].strip() or '·'}” ({one.roles[index]}) {one.contributions[index]:+.3f}" for index in order
    )


def _turns(one: TokenMap, shades: Sequence[Scale]) -> list[dict[str, Any]]:
    """Consecutive tokens of one role."""
    turns: list[dict[str, Any]] = []
    for role, indices in groupby(range(len(one.texts)), key=lambda index: one.roles[index]):
        tokens: list[dict[str, str]] = []
        for index in indices:
            numbers = one.logits[index], one.contributions[index]
            shaded = " ".join(scale.shade(number) for scale, number in zip(shades, numbers, strict=True))
            told = f"alone {numbers[0]:+.3f}, adds {numbers[1]:+.4f}"
            tokens.append({"text": one.texts[index], "shades": shaded, "numbers": told})
        turns.append({"role": role, "seen": role in one.seen, "tokens": tokens})
    return turns


_SECTIONS = {
    "results": "Results",
    "cards": "Cards",
    "figures": "Figures",
    "groups": "By group",
    "datasets": "Data versions",
    "errors": "Worst errors",
    "tokens": "Token scores",
    "provenance": "Provenance",
}


def render_page(report: Report) -> str:
    """The whole page. Equal reports give equal bytes."""
    drawing = [_vega_embed(), _asset("charts.js")] if report.figures else []
    scripts = [*drawing, *([_asset("tokens.js")] if report.token_maps else [])]
    groups = [_group(dataset, by_probe) for dataset, by_probe in report.groups.items() if any(by_probe.values())]
    filled = {
        "results": True,
        "cards": report.cards,
        "figures": report.figures,
        "groups": groups,
        "datasets": report.datasets,
        "errors": report.errors,
        "tokens": report.token_maps,
        "provenance": report.provenance or report.params,
    }
    return template("models_under_pressure.report", "page.html.jinja").render(
        report=report,
        words=report.words,
        positive=report.words.classes.positive[:1].upper() + report.words.classes.positive[1:],
        sections={name: title for name, title in _SECTIONS.items() if filled[name]},
        style=_asset("style.css"),
        scripts=scripts,
        policy=_policy(scripts),
        probes=_probes(report.metrics),
        captions=_captions(report.metrics),
        stored=_stored(report.metrics),
        point_heads=POINTS,
        limits=LIMITS,
        mean_probes=_probes(report.means),
        means=_means(report.means),
        parted=groups,
        heat_maps=token_maps(report.token_maps, report.words),
        params={name: one if isinstance(one, str) else canonical_json(one) for name, one in report.params.items()},
    )


def _policy(scripts: Sequence[str]) -> str:
    """Only the page's own scripts run, and nothing may be fetched. Vega compiles its expressions: `unsafe-eval`."""
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{value}'" for value in hashes)
    return (
        f"default-src 'none'; script-src {allowed} 'unsafe-eval'; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _probes(metrics: Metrics) -> list[str]:
    return list(dict.fromkeys(probe for found in metrics.values() for probe in found))


def _captions(metrics: Metrics) -> dict[str, str]:
    """Metric -> caption of its table: AUROC, and the true positive rate at each budget."""
    names = {name for probes in metrics.values() for found in probes.values() for name in found}
    budgets = {
        name: name.removeprefix("tpr_at_").removesuffix("pct_fpr").replace("_", ".")
        for name in sorted(names)
        if name.startswith("tpr_at_") and name.endswith("pct_fpr")
    }
    told = {name: f"TPR at {budget} % false positives by dataset" for name, budget in budgets.items()}
    return {"auroc": "AUROC by dataset"} | told


def _stored(metrics: Metrics) -> list[tuple[str, str, list[str]]]:
    """Metric, caption and columns of each table of rates at the stored thresholds, false positives first."""
    names = {name for probes in metrics.values() for found in probes.values() for name in found}
    tables: list[tuple[str, str, list[str]]] = []
    for found in filter(None, map(AT_STORED.fullmatch, sorted(names))):
        rate = "False positives" if found["rate"] == "fpr" else "True positives"
        caption = f"{rate} at the stored threshold for {found['percent'].replace('_', '.')} %"
        own = [one for one in _probes(metrics) if any(found[0] in row.get(one, {}) for row in metrics.values())]
        tables.append((found[0], caption, own))
    return tables


def _means(means: Metrics) -> list[dict[str, Any]]:
    """AUROC averaged over the datasets of each purpose that have one.

    A method that scored fewer datasets than others says so, because means over different datasets cannot be compared.
    """
    rows: list[dict[str, Any]] = []
    for purpose, found in means.items():
        if all("auroc" not in row for row in found.values()):
            continue
        most = max(found.values(), key=lambda row: row["datasets"], default={"datasets": 0, "n": 0})
        count = most["datasets"]
        told = f"{purpose} ({count} {'dataset' if count == 1 else 'datasets'})"
        cells = [found.get(probe) for probe in _probes(means)]
        rows.append({"label": told, "n": f"{most['n']:,}", "datasets": count, "found": cells})
    return rows


def _group(dataset: str, by_probe: Mapping[str, Metrics]) -> dict[str, Any]:
    """AUROC by attribute."""
    parts = {
        (attribute, value): row
        for found in by_probe.values()
        for attribute, values in found.items()
        for value, row in values.items()
    }
    rows = [
        {
            "value": value,
            "attribute": attribute,
            "n": f"{row['n']:,}",
            "positives": f"{row['positives']:,}",
            "found": [found.get(attribute, {}).get(value) for found in by_probe.values()],
        }
        for (attribute, value), row in parts.items()
    ]
    attributes = ", ".join(dict.fromkeys(attribute for attribute, _ in parts))
    return {"dataset": dataset, "attributes": attributes, "probes": list(by_probe), "parts": rows}


def _asset(name: str) -> str:
    return (Path(__file__).parent / name).read_text("utf-8")


@functools.cache
def _vega_embed() -> str:
    """The library that draws figures, which takes a second to put together."""
    import vl_convert

    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
