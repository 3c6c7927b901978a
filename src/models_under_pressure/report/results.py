"""The tables of results: a row per dataset, a column per probe."""

from collections.abc import Mapping
from typing import Any

from models_under_pressure.report.html import Markup, element, join, table, text

Metrics = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Dataset or purpose -> probe -> metric."""


def mean_table(means: Metrics) -> Markup:
    """AUROC averaged over the datasets of each purpose; empty without means.

    A method that scored fewer datasets than others says so, because means over different datasets cannot be compared.
    """
    if not means:
        return Markup("")
    probes = _probes(means)
    rows = []
    for purpose, found in means.items():
        most = max(found.values(), key=lambda row: row["datasets"], default={"datasets": 0, "n": 0})
        rows.append(
            [
                text(f"{purpose} ({most['datasets']} {'dataset' if most['datasets'] == 1 else 'datasets'})"),
                text(f"{most['n']:,}"),
                *(_mean_cell(found.get(probe), most["datasets"]) for probe in probes),
            ]
        )
    return table("AUROC, mean over datasets", ["Datasets", "n", *probes], rows)


def group_tables(groups: Mapping[str, Mapping[str, Mapping[str, Metrics]]]) -> Markup:
    """AUROC by attribute, a folded table per dataset; empty without groups."""
    return join([_group_table(dataset, by_probe) for dataset, by_probe in groups.items() if any(by_probe.values())])


def _group_table(dataset: str, by_probe: Mapping[str, Mapping[str, Metrics]]) -> Markup:
    parts = {
        (attribute, value): row
        for found in by_probe.values()
        for attribute, values in found.items()
        for value, row in values.items()
    }
    rows = [
        [
            text(value),
            text(attribute),
            text(f"{row['n']:,}"),
            text(f"{row['positives']:,}"),
            *(_cell(by_probe[probe].get(attribute, {}).get(value), "auroc") for probe in by_probe),
        ]
        for (attribute, value), row in parts.items()
    ]
    drawn = table(f"AUROC in parts of {dataset}", ["Part", "By", "n", "High-stakes", *by_probe], rows)
    attributes = ", ".join(dict.fromkeys(attribute for attribute, _ in parts))
    return element("details", f"<summary>{text(dataset)} by {text(attributes)}</summary>{drawn}")


def result_table(metrics: Metrics, name: str, caption: str) -> Markup:
    """One metric of every dataset and probe; a dash where it is not defined."""
    probes = _probes(metrics)
    rows = []
    for dataset, found in metrics.items():
        counted = next(iter(found.values()))
        rows.append(
            [
                text(dataset),
                text(f"{counted['n']:,}"),
                text(f"{counted['positives']:,}"),
                *(_cell(found.get(probe), name) for probe in probes),
            ]
        )
    return table(caption, ["Dataset", "n", "High-stakes", *probes], rows)


def _probes(metrics: Metrics) -> list[str]:
    return list(dict.fromkeys(probe for found in metrics.values() for probe in found))


def _mean_cell(found: Mapping[str, Any] | None, most: int) -> Markup:
    cell = _cell(found, "auroc")
    if found is None or found["datasets"] == most:
        return cell
    return join([cell, element("span", text(f"of {found['datasets']} only"), class_="interval")])


def _cell(found: Mapping[str, Any] | None, name: str) -> Markup:
    if found is None or name not in found:
        return Markup("–")
    value = text(f"{found[name]:.3f}")
    if f"{name}_low" not in found:
        return value
    interval = element("span", text(f"[{found[f'{name}_low']:.3f}, {found[f'{name}_high']:.3f}]"), class_="interval")
    return join([value, interval])
