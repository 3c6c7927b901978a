"""Compare all probe families on the dev and test sets.

McKenzie et al. 2025, figure 2.
"""

import numpy as np
from pydantic import Field

from models_under_pressure.core.files import write_jsonl
from models_under_pressure.core.paths import EXPERIMENT_RESULTS
from models_under_pressure.core.section import EXPERIMENTS, Section, read
from models_under_pressure.experiments.shared.rows import Logits, Row, auroc_row, each, means
from models_under_pressure.experiments.shared.setting import Setting, read_setting
from models_under_pressure.probes.families import ProbeConfig
from models_under_pressure.probes.probe import score_together
from models_under_pressure.probes.training import fit_probes


class CompareProbes(Section):
    """Which probes to compare."""

    seeds: int = Field(ge=1)
    """Probes fitted of each, from consecutive seeds; an ensemble keeps the number that it gives itself."""
    probes: dict[str, ProbeConfig] = Field(min_length=1)
    """Name -> family and hyper-parameters."""


def command() -> None:
    """Compare all probe families on the dev and test sets.

    Example: mup compare_probes
    """
    rows = run(read("compare_probes", CompareProbes, EXPERIMENTS), read_setting("dev", "test"))
    write_jsonl(EXPERIMENT_RESULTS / "compare_probes.jsonl", rows)


def run(config: CompareProbes, setting: Setting) -> list[Row]:
    """Fit every probe from its seeds, and score every dataset.

    Returns:
        `evaluation.rows.ProbeRow`s per dataset and probe, then per purpose and probe with the mean over its datasets.
    """
    probes = {
        name: probe if probe.ensemble else probe.model_copy(update={"seeds": config.seeds})
        for name, probe in config.probes.items()
    }
    found = each(_scores, setting, list(probes.values()), processes=setting.processes)
    rows: list[Row] = []
    for number, one in enumerate(setting.tested):
        for (name, probe), logits in zip(probes.items(), found, strict=True):
            origin = {"dataset": one.name, "purpose": one.purpose, "probe": name, "family": probe.family}
            rows.append(origin | {"seeds": probe.seeds} | auroc_row(logits[number], one, setting.confidence))
    return [*rows, *means(rows, by=("purpose", "probe", "family", "seeds"))]


def _scores(setting: Setting, probe: ProbeConfig) -> list[Logits]:
    """Logits of one probe on every tested dataset, from each of its seeds; of an ensemble, their mean."""
    fitted = fit_probes({"": probe}, setting.train.data, setting.validation.data, seed=setting.seed)[""]
    found = [score_together(fitted, one.data.activations) for one in setting.tested]
    return [[np.mean(logits, axis=0)] for logits in found] if probe.ensemble else found
