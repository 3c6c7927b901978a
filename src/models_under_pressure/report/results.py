"""The tables of results: a row per dataset, a column per probe."""

from collections.abc import Mapping
from typing import Any

from models_under_pressure.report.html import Markup, element, join, table, text

Metrics = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Dataset or purpose -> probe -> metric."""


def mean_table(means: Metrics) -> Markup:
    """AUROC averaged over the datasets of each purpose; empty without means."""
    if not means:
        return Markup("")
    probes = _probes(means)
    rows = []
    for purpose, found in means.items():
        counted = next(iter(found.values()))
        rows.append(
            [
                text(f"{purpose} ({counted['datasets']} datasets)"),
                text(f"{counted['n']:,}"),
                *(_cell(found.get(probe), "auroc") for probe in probes),
            ]
        )
    return table("AUROC, mean over datasets", ["Datasets", "n", *probes], rows)


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


def _cell(found: Mapping[str, Any] | None, name: str) -> Markup:
    if found is None or name not in found:
        return Markup("–")
    value = text(f"{found[name]:.3f}")
    if f"{name}_low" not in found:
        return value
    interval = element("span", text(f"[{found[f'{name}_low']:.3f}, {found[f'{name}_high']:.3f}]"), class_="interval")
    return join([value, interval])
