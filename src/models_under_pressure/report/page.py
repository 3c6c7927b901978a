"""The report: one HTML file without a network, readable by keyboard, screen reader, in the dark and on paper."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models_under_pressure.core.files import canonical_json
from models_under_pressure.core.html import template
from models_under_pressure.report.content import Metrics, Report
from models_under_pressure.report.tokens import token_maps

_SECTIONS = {
    "results": "Results",
    "figures": "Figures",
    "groups": "By group",
    "datasets": "Data versions",
    "errors": "Worst errors",
    "tokens": "Token scores",
    "provenance": "Provenance",
}


def render_page(report: Report) -> str:
    """The whole page. Equal reports give equal bytes."""
    scripts = _scripts(report)
    groups = [_group(dataset, by_probe) for dataset, by_probe in report.groups.items() if any(by_probe.values())]
    filled = {
        "results": True,
        "figures": report.figures,
        "groups": groups,
        "datasets": report.datasets,
        "errors": report.errors,
        "tokens": report.token_maps,
        "provenance": report.provenance or report.params,
    }
    return template("models_under_pressure.report", "page.html.jinja").render(
        report=report,
        sections={name: title for name, title in _SECTIONS.items() if filled[name]},
        style=_asset("style.css"),
        scripts=scripts,
        policy=_policy(scripts),
        probes=_probes(report.metrics),
        captions=_captions(report.metrics),
        mean_probes=_probes(report.means),
        means=_means(report.means),
        parted=groups,
        heat_maps=token_maps(report.token_maps),
        params={name: one if isinstance(one, str) else canonical_json(one) for name, one in report.params.items()},
    )


def _scripts(report: Report) -> list[str]:
    """What draws the charts, and what searches the heat maps."""
    import vl_convert

    drawing = [vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"), _asset("charts.js")]
    return [*(drawing if report.figures else []), *([_asset("tokens.js")] if report.token_maps else [])]


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


def _means(means: Metrics) -> list[dict[str, Any]]:
    """AUROC averaged over the datasets of each purpose.

    A method that scored fewer datasets than others says so, because means over different datasets cannot be compared.
    """
    rows: list[dict[str, Any]] = []
    for purpose, found in means.items():
        most = max(found.values(), key=lambda row: row["datasets"], default={"datasets": 0, "n": 0})
        count = most["datasets"]
        told = f"{purpose} ({count} {'dataset' if count == 1 else 'datasets'})"
        cells = [found.get(probe) for probe in _probes(means)]
        rows.append({"label": told, "n": f"{most['n']:,}", "datasets": count, "found": cells})
    return rows


def _group(dataset: str, by_probe: Mapping[str, Mapping[str, Metrics]]) -> dict[str, Any]:
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
