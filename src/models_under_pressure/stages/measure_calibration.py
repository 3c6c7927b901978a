"""Stage `measure_calibration`: probabilities against labels and stakes, before and after recalibration."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from models_under_pressure.core.files import write_json
from models_under_pressure.core.records import read_records
from models_under_pressure.evaluation.scores import read_scores
from models_under_pressure.experiments.calibration import Judging, Recalibration, measure_calibration
from models_under_pressure.experiments.monitors import first_seeds
from models_under_pressure.stages.paths import RESULTS, scores_path


def run(
    *,
    datasets: Mapping[str, tuple[str, Path]],
    methods: Mapping[str, Sequence[str]],
    monitors: Sequence[str],
    fit_on: str,
    recalibrations: Sequence[Recalibration],
    judging: Judging,
) -> None:
    """Write data/results/measure_calibration.json.

    Args:
        datasets: dataset -> what it is for, and its records.
        methods: dataset -> whose score files it has.
        monitors: names in these files.
        fit_on: purpose of the datasets that maps are fitted on.
        recalibrations: kinds of map.
        judging: bins, and how intervals are drawn.
    """
    lists = [scores for name in datasets for file in methods[name] for scores in read_scores(scores_path(name, file))]
    found = measure_calibration(
        first_seeds(lists),
        {name: purpose for name, (purpose, _) in datasets.items()},
        {name: _stakes(path) for name, (_, path) in datasets.items()},
        monitors=monitors,
        fit_on=fit_on,
        recalibrations=recalibrations,
        judging=judging,
    )
    write_json(RESULTS / "measure_calibration.json", found)


def _stakes(path: Path) -> dict[str, int]:
    return {record.id: record.scale_label for record in read_records(path) if record.scale_label is not None}
