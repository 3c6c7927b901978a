"""Cascades on score files, and the plan that keeps a budget."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from models_under_pressure.core.errors import UserError
from models_under_pressure.evaluation.scores import ScoreList
from models_under_pressure.experiments.cascade import Cascade, plan
from models_under_pressure.experiments.cascade import run as cascade
from models_under_pressure.experiments.shared.monitors import first_seeds

PAIRS = [("probe", "llm")]


def config(pairs=PAIRS, shares=(0.5,), selections=("mid",)):
    named = {f"{first}_then_{second}": {"first": first, "second": second} for first, second in pairs}
    return Cascade.model_validate({"pairs": named, "shares": shares, "selections": selections, "merge": "mean"})


PURPOSES = {"a_dev": "dev", "a_test": "test", "b_test": "test"}
SHARES = [0.0, 0.3, 1.0]
SELECTIONS = ["mid", "top", "uncertain", "random"]


def monitor(dataset, name, signal, flops, seed, labels):
    generator = np.random.default_rng(seed)
    probabilities = 1 / (1 + np.exp(-(generator.normal(size=len(labels)) + signal * (labels - 0.5))))
    ids = tuple(f"{number:03}" for number in range(len(labels)))
    return ScoreList(
        dataset=dataset,
        probe=name,
        seed=0,
        ids=ids,
        groups=ids,
        labels=labels,
        logits=np.log(probabilities / (1 - probabilities)),
        probabilities=probabilities,
        tokens=generator.integers(5, 50, len(labels)),
        flops=generator.integers(flops, 2 * flops, len(labels)),
    )


@pytest.fixture(scope="module")
def lists():
    labels = np.arange(80) % 2 == 0
    return [
        monitor(dataset, name, signal, flops, 10 * number + len(name), labels)
        for number, dataset in enumerate(PURPOSES)
        for name, signal, flops in (("probe", 1.0, 100), ("llm", 2.0, 1_000_000))
    ]


@pytest.fixture(scope="module")
def rows(lists):
    return cascade(config(shares=SHARES, selections=SELECTIONS), first_seeds(lists), PURPOSES, seed=0)


def find(rows, **wanted):
    return [row for row in rows if all(row.get(key) == value for key, value in wanted.items())]


@pytest.mark.parametrize("selection", SELECTIONS)
def test_the_ends_of_a_cascade_are_the_probe_and_the_plain_average(rows, lists, selection):
    probe, llm = lists[2], lists[3]
    (none,) = find(rows, dataset="a_test", selection=selection, share=0.0)
    (everything,) = find(rows, dataset="a_test", selection=selection, share=1.0)
    average = (probe.probabilities + llm.probabilities) / 2
    assert none["auroc"] == pytest.approx(roc_auc_score(probe.labels, probe.probabilities), abs=1e-4)
    assert everything["auroc"] == pytest.approx(roc_auc_score(probe.labels, average), abs=1e-4)
    assert none["flops"] == probe.flops.mean()
    assert everything["flops"] == pytest.approx((probe.flops + llm.flops).mean())


def test_means_count_datasets_alike_and_mark_the_front(rows):
    (mean,) = find(rows, dataset="mean", purpose="test", selection="mid", share=0.3)
    parts = [
        row["auroc"] for name in ("a_test", "b_test") for row in find(rows, dataset=name, selection="mid", share=0.3)
    ]
    assert mean["auroc"] == pytest.approx(np.mean(parts), abs=1e-4)
    assert mean["datasets"] == 2
    cheapest = find(rows, dataset="mean", purpose="test", kind="alone", first="probe")
    assert all(row["pareto"] for row in cheapest)
    assert any(not row["pareto"] for row in find(rows, dataset="mean", purpose="test"))


def test_the_order_of_the_records_in_a_file_does_not_matter(rows, lists):
    order = np.random.default_rng(0).permutation(80)
    columns = ("labels", "logits", "probabilities", "tokens", "flops")
    shuffled = [
        replace(
            one,
            ids=tuple(one.ids[row] for row in order),
            groups=tuple(one.groups[row] for row in order),
            **{name: getattr(one, name)[order] for name in columns},
        )
        for one in lists
    ]
    again = cascade(config(shares=SHARES, selections=SELECTIONS), first_seeds(shuffled), PURPOSES, seed=0)
    assert again == rows


def test_a_plan_keeps_its_budget_on_dev_and_does_not_look_at_the_test_sets(lists):
    candidates = config(shares=[0.1, 0.2, 0.5, 1.0], selections=SELECTIONS)
    made = plan(candidates, first_seeds(lists), PURPOSES, budget=400_000)
    assert made.dev["flops"] <= 400_000
    assert made.share in (0.1, 0.2)
    assert made.test["datasets"] == 2
    flipped = [replace(one, labels=~one.labels) if PURPOSES[one.dataset] == "test" else one for one in lists]
    other = plan(candidates, first_seeds(flipped), PURPOSES, budget=400_000)
    assert (other.selection, other.share, other.band) == (made.selection, made.share, made.band)
    assert other.test["auroc"] != made.test["auroc"]


def test_a_budget_for_the_first_monitor_only_plans_no_second_one(lists):
    made = plan(config(), first_seeds(lists), PURPOSES, budget=250)
    assert made.band is None
    assert made.share == 0.0


def test_a_budget_that_nothing_keeps_names_the_cheapest(lists):
    with pytest.raises(UserError, match=r"no cascade keeps 10 FLOPs a record; the cheapest needs 1\d\d"):
        plan(config(), first_seeds(lists), PURPOSES, budget=10)


def test_unknown_monitors_unknown_costs_and_other_records_are_refused(lists):
    def run(changed, pairs=PAIRS):
        cascade(config(pairs), first_seeds(changed), PURPOSES, seed=0)

    with pytest.raises(UserError, match=r"'gpt' has no scores of a_dev \(there are: llm, probe\)"):
        run(lists, [("probe", "gpt")])
    with pytest.raises(UserError, match="what probe costs on a_dev is not known"):
        run([replace(lists[0], flops=None), *lists[1:]])
    with pytest.raises(UserError, match="scores of different records of a_dev"):
        run([replace(lists[0], ids=("other", *lists[0].ids[1:])), *lists[1:]])
