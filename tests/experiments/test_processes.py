"""Fits side by side: the rows of one process, in the order of the jobs."""

import operator
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import BaseModel

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.section import load_yaml
from models_under_pressure.experiments import compare_probes, measure_data_efficiency, train_on_dev
from models_under_pressure.experiments.shared.rows import MOST, cores, each
from models_under_pressure.experiments.shared.setting import Setting
from models_under_pressure.probes.families import FAMILIES

ATTENTION = FAMILIES["attention"].config(epochs=3)
PROBES = {"mean_logistic": FAMILIES["mean_logistic"].config(), "attention": ATTENTION}


@pytest.mark.parametrize("processes", [1, 2])
def test_results_come_in_the_order_of_the_jobs_and_errors_as_they_are(processes):
    assert each(operator.sub, 10, [3, 1, 2], processes=processes) == [7, 9, 8]
    with pytest.raises(UserError, match="missing.yaml"):
        each(load_yaml, Path("missing.yaml"), [BaseModel, BaseModel], processes=processes)


@pytest.mark.parametrize(("wanted", "most"), [("1", 1), ("0", 1), ("99", 64)])
def test_a_user_says_how_many_processes_there_may_be(wanted, most, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(64), raising=False)
    assert cores() == MOST
    monkeypatch.setenv("MUP_PROCESSES", wanted)
    assert cores() == most
    monkeypatch.setenv("MUP_PROCESSES", "all")
    with pytest.raises(UserError, match="'all' is no number"):
        cores()


@pytest.mark.slow
def test_rows_do_not_depend_on_the_number_of_processes(make_set):
    dev = [make_set(f"{name}_dev", purpose="dev", seed=seed) for name, seed in (("a", 2), ("b", 3))]
    test = [make_set(one.name.replace("dev", "test"), seed=9 + number) for number, one in enumerate(dev)]
    setting = Setting(make_set(), make_set("validation", purpose="validation", seed=1), [*dev, *test])
    compared = compare_probes.CompareProbes(seeds=2, probes=PROBES)
    sampled = measure_data_efficiency.MeasureDataEfficiency(sizes=(4,), repeats=2, probes={"attention": ATTENTION})
    trained = train_on_dev.TrainOnDev(
        modes=("only", "fine_tune"), sizes=(4,), repeats=2, copies=2, epochs=3, learning_rate=0.005, probe=ATTENTION
    )
    one, two = (
        [
            compare_probes.run(compared, replace(setting, processes=processes)),
            measure_data_efficiency.run(sampled, replace(setting, processes=processes)),
            train_on_dev.run(trained, replace(setting, processes=processes)),
        ]
        for processes in (1, 2)
    )
    assert one == two
