"""The report: one HTML file without a network, readable by keyboard, screen reader, in the dark and on paper."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models_under_pressure.core.files import canonical_json
from models_under_pressure.report.content import Figure, Report, WorstError
from models_under_pressure.report.html import Markup, data_script, element, join, table, text
from models_under_pressure.report.results import group_tables, mean_table, result_table
from models_under_pressure.report.tokens import token_maps

_ASSETS = Path(__file__).parent

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
    bodies = {
        "results": _results(report),
        "figures": join([_figure(figure) for figure in report.figures]),
        "groups": group_tables(report.groups),
        "datasets": _datasets(report),
        "errors": _errors(report.errors),
        "tokens": token_maps(report.token_maps),
        "provenance": _provenance(report),
    }
    shown = {name: body for name, body in bodies.items() if body}
    return join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{text(_policy(scripts))}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            '<link rel="icon" href="data:,">',
            element("title", text(report.title)),
            element("style", _asset("style.css")),
            '</head>\n<body>\n<a class="skip" href="#main">Skip to the results</a>',
            element("header", _header(report, list(shown))),
            element("main", join([_section(name, body) for name, body in shown.items()]), id="main"),
            element("footer", _footer()),
            *(f'<script type="module">{script}</script>' for script in scripts),
            "</body>\n</html>\n",
        ]
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


def _header(report: Report, sections: Sequence[str]) -> Markup:
    links = [element("li", element("a", text(_SECTIONS[name]), href=f"#{name}")) for name in sections]
    return join(
        [
            element("h1", text(report.title)),
            element("p", text(report.summary)),
            _definitions(report.facts),
            element("nav", element("ul", join(links)), aria_label="Sections"),
        ]
    )


def _section(name: str, body: str) -> Markup:
    heading = element("h2", text(_SECTIONS[name]), id=f"{name}-heading")
    return element("section", f"{heading}\n{body}", id=name, aria_labelledby=f"{name}-heading")


def _results(report: Report) -> Markup:
    return join(
        [
            element(
                "p",
                "Brackets hold 95 % intervals. AUROC: grouped bootstrap. TPR at a false positive budget: exact, "
                "and it starts at 0 where a dataset has too few low-stakes records to bound it.",
                class_="muted",
            ),
            mean_table(report.means),
            result_table(report.metrics, "auroc", "AUROC by dataset"),
            *(
                result_table(report.metrics, name, f"TPR at {_budget(name)} false positives by dataset")
                for name in _budgets(report.metrics)
            ),
        ]
    )


def _budgets(metrics: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[str]:
    names = {name for probes in metrics.values() for found in probes.values() for name in found}
    return sorted(name for name in names if name.startswith("tpr_at_") and name.endswith("pct_fpr"))


def _budget(name: str) -> str:
    return name.removeprefix("tpr_at_").removesuffix("pct_fpr").replace("_", ".") + " %"


def _figure(figure: Figure) -> Markup:
    identifier = f"chart-{figure.name}"
    caption = element("figcaption", text(figure.description or figure.title), id=f"{identifier}-caption")
    chart = element(
        "div",
        "",
        class_="chart scroll",
        data_chart=identifier,
        role="group",
        tabindex="0",
        aria_label=figure.title,
        aria_describedby=f"{identifier}-caption",
    )
    without = "<noscript><p>Charts need scripts; the tables above hold the same results.</p></noscript>"
    body = join([element("h3", text(figure.title)), chart, without, caption])
    return join([element("figure", body), data_script(identifier, figure.specification)])


def _datasets(report: Report) -> Markup:
    if not report.datasets:
        return Markup("")
    rows = [
        [
            text(dataset.name),
            text(dataset.purpose),
            text(dataset.version),
            text(f"{dataset.rows:,}"),
            text(", ".join(f"{count:,} {label}" for label, count in dataset.labels.items())),
            text(dataset.labelled_by),
            element("code", text(dataset.path)),
            element("code", text(dataset.content_hash[:12])),
        ]
        for dataset in report.datasets
    ]
    heads = ["Dataset", "Purpose", "Version", "Rows", "Labels", "Labelled by", "File", "MD5 (dvc.lock)"]
    return table("Evaluated datasets", heads, rows)


def _errors(errors: Sequence[WorstError]) -> Markup:
    if not errors:
        return Markup("")
    rows = [
        [
            element("a", text(f"{error.dataset}: {error.id}"), href=f"#error-{number}"),
            text(error.probe),
            text(error.label),
            text(f"{error.probability:.3f}"),
        ]
        for number, error in enumerate(errors, start=1)
    ]
    overview = table(
        "Records whose probability is farthest from their label; each links to the labeller's explanation",
        ["Record", "Monitor", "Label", "Probability of high stakes"],
        rows,
    )
    return join([overview, *(_error(number, error) for number, error in enumerate(errors, start=1))])


def _error(number: int, error: WorstError) -> Markup:
    rated = f"{error.scale_label} of 10" if error.scale_label is not None else "not rated"
    facts = {
        "Label": f"{error.label} (stakes {rated})",
        "Monitor": f"{error.probe}: {error.probability:.3f} for high stakes",
        "Explanation": error.explanation or "none was recorded",
        "Labelled by": error.labeller or "not recorded",
    }
    body = join(
        [
            element("h3", text(f"{error.dataset}: {error.id}")),
            _definitions(facts),
            # dir=auto: conversations come in scripts of either direction.
            element("pre", text(error.text), tabindex="0", dir="auto"),
            element("a", "Back to the list", href="#errors"),
        ]
    )
    return element("article", body, class_="error", id=f"error-{number}")


def _provenance(report: Report) -> Markup:
    parts = [_definitions(report.provenance)]
    if report.params:
        rows = [
            [element("code", text(key)), element("code", text(_value(value)))] for key, value in report.params.items()
        ]
        drawn = table("Every parameter of the run", ["Parameter", "Value"], rows)
        parts.append(element("details", f"<summary>{len(rows)} parameters</summary>{drawn}"))
    return join([part for part in parts if part])


def _value(value: Any) -> str:
    return value if isinstance(value, str) else canonical_json(value)


def _definitions(facts: Mapping[str, str]) -> Markup:
    if not facts:
        return Markup("")
    return element("dl", join([element("dt", text(name)) + element("dd", text(fact)) for name, fact in facts.items()]))


def _footer() -> Markup:
    return element("p", "Made by a stage of the pipeline. The file is complete: it needs no network.")


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text("utf-8")
