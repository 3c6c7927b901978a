"""What whoever switches a probe on must know of it, on the page and as Markdown beside the probe."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models_under_pressure.core.display import template
from models_under_pressure.core.layers import layers_text
from models_under_pressure.evaluation.report import Metrics, percent

RESULTS = ("dataset", "purpose", "n", "positives", "AUROC", "FPR at the 1 % threshold", "TPR at the 1 % threshold")
"""Columns of the datasets."""
POINTS = ("FPR asked for", "promise", "flag logits from", "FPR found", "TPR, validation", "TPR, dev", "TPR, test")
"""Columns of the operating points."""


@dataclass(frozen=True)
class Card:
    """One probe."""

    name: str
    facts: Mapping[str, str]
    points: Sequence[Sequence[str]]
    """Cells of `POINTS`, a row per stored threshold."""
    results: Sequence[Sequence[str]]
    """Cells of `RESULTS`, a row per dataset."""


def card_of(
    name: str,
    probe: Mapping[str, Any],
    metrics: Metrics,
    means: Metrics,
    purposes: Mapping[str, str],
    *,
    licence: str,
) -> Card:
    """The card of a probe.

    Args:
        name: its name.
        probe: its description, as probe.json has it.
        metrics: dataset -> name -> metric.
        means: purpose -> name -> mean over its datasets.
        purposes: dataset -> purpose.
        licence: under which the probe is given away.
    """
    own = {dataset: found[name] for dataset, found in metrics.items() if name in found}
    averaged = {purpose: found[name] for purpose, found in means.items() if name in found}
    results = [
        [dataset, purposes[dataset], f"{row['n']:,}", f"{row['positives']:,}", told(row, "auroc")]
        + [told(row, f"{rate}_at_stored_1pct") for rate in ("fpr", "tpr")]
        for dataset, row in own.items()
        if purposes[dataset] != "train"
    ]
    points = [_point(row, averaged) for row in probe["thresholds"]]
    return Card(name, _facts(probe, own, averaged, licence), points, results)


def _facts(probe: Mapping[str, Any], own: Mapping[str, Any], means: Mapping[str, Any], licence: str) -> dict[str, str]:
    origin, config = probe["provenance"], probe["config"]
    outside = {purpose: means[purpose] for purpose in ("dev", "test") if purpose in means}
    spoken = {"validation": means.get("validation", {})} | outside
    flops = next((row["flops"] / row["tokens"] for row in own.values() if row.get("tokens") and "flops" in row), None)
    return {
        "Model": f"{origin.get('model')} at {str(origin.get('revision'))[:12]}",
        "Reads": f"{layers_text(origin)} ({origin.get('hook_point')})",
        "Family": str(config["family"]),
        "Trained on": f"{origin.get('training_records', 0):,} records, {str(origin.get('training_data_hash'))[:12]}",
        "AUROC, in distribution": told(means.get("validation", {}), "auroc") + " (validation split)",
        "AUROC, out of distribution": _listed(outside, "auroc"),
        "Calibration": f"{config.get('calibration', 'none')}; Brier score {_listed(spoken, 'brier')}; "
        f"expected calibration error {_listed(spoken, 'ece')}",
        "Cost": ("not known" if flops is None else f"{1000 * round(flops):,} operations per 1,000 tokens")
        + ", beside the forward pass that the monitored model runs anyway (seconds: docs/benchmarks.md)",
        "Robustness": "an experiment of its own, `measure_robustness`: not part of this pipeline's results",
        "Licence": licence,
    }


def _point(row: Mapping[str, Any], means: Mapping[str, Any]) -> list[str]:
    asked = f"{100 * row['budget']:g} %"
    if row.get("refused"):
        return [asked, f"refused: {row['refused']}", *["–"] * 5]
    bound = row.get("bound")
    promise = "none (validation split)"
    if bound is not None:
        promise = f"at most {100 * bound:.3g} % at {100 * row['confidence']:g} % confidence"
    name = f"tpr_at_stored_{percent(row['budget'])}"
    return [
        asked,
        promise,
        "flag nothing" if row["logit"] is None else f"{row['logit']:.4g}",
        f"{row['fpr']:.4f} [{row['fpr_low']:.4f}, {row['fpr_high']:.4f}] of {row['negatives']:,}",
        f"{row['tpr']:.3f} of {row['positives']:,}",
        *(told(means.get(purpose, {}), name) for purpose in ("dev", "test")),
    ]


def told(row: Mapping[str, Any], name: str) -> str:
    """A metric with its interval; a dash where it is not defined."""
    if name not in row:
        return "–"
    return f"{row[name]:.3f} [{row[f'{name}_low']:.3f}, {row[f'{name}_high']:.3f}]"


def _listed(means: Mapping[str, Any], name: str) -> str:
    return ", ".join(f"{told(row, name)} ({purpose})" for purpose, row in means.items()) or "–"


def card_markdown(card: Card, readme: str) -> str:
    """The card that was written with the probe, and below it what was measured since."""
    shown = template("models_under_pressure.report", "card.md.jinja")
    return readme.rstrip() + "\n\n" + shown.render(card=card, heads=RESULTS, points=POINTS)
