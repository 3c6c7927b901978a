"""Cascades on score files, and the plan that keeps a budget and an operating point."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import write_json
from models_under_pressure.core.paths import scores_path
from models_under_pressure.evaluation.report import EvaluateConfig
from models_under_pressure.evaluation.scores import ScoreList, write_scores
from models_under_pressure.experiments.cascade import Cascade, _evidence, app
from models_under_pressure.experiments.cascade import run as cascade
from models_under_pressure.experiments.shared.monitors import first_seeds
from models_under_pressure.experiments.shared.planning import plan, saved_threshold, to_text

PAIRS = [("probe", "llm")]


def config(pairs=PAIRS, shares=(0.5,), selections=("mid",)):
    named = {f"{first}_then_{second}": {"first": first, "second": second} for first, second in pairs}
    return Cascade.model_validate({"pairs": named, "shares": shares, "selections": selections, "merge": "mean"})


PURPOSES = {"a_dev": "dev", "a_test": "test", "b_test": "test"}
SHARES = [0.0, 0.3, 1.0]
RATES = ("fpr", "fpr_low", "fpr_high", "tpr")
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


EVALUATE = EvaluateConfig(resamples=200, prevalence=0.01)


def planned(lists, budget, *, price=None, threshold=0.3):
    found = {"probe": _evidence(first_seeds(lists), PURPOSES, "probe", "llm", price)}
    return plan("llm", found, {"probe": threshold}, budget=budget, evaluate=EVALUATE, seed=0)


def test_a_plan_keeps_its_budget_on_dev_and_does_not_look_at_the_test_sets(lists):
    made = planned(lists, 500e6)
    assert 1000 * made.dev.cost.value <= 500e6
    assert 0 < made.dev.judged < 1
    flipped = [replace(one, labels=~one.labels) if PURPOSES[one.dataset] == "test" else one for one in lists]
    other = planned(flipped, 500e6)
    assert other.policy == made.policy
    assert other.test != made.test


def test_a_plan_is_measured_on_all_test_sets_beside_the_first_monitor_alone(lists):
    made = planned(lists, 5.0, price=20.0)
    both = [one for one in lists if PURPOSES[one.dataset] == "test"]
    probe, llm = (np.concatenate([one.logits for one in both if one.probe == name]) for name in ("probe", "llm"))
    labels = np.concatenate([one.labels for one in both if one.probe == "probe"])
    low, high, judge = made.policy.low, made.policy.high, made.policy.judge
    flags = (probe >= high) | ((probe >= low) & (llm >= judge))
    assert made.test.tpr.value == pytest.approx(flags[labels].mean())
    assert made.test.fpr.value == pytest.approx(flags[~labels].mean())
    assert made.alone.tpr.value == pytest.approx((probe >= 0.3)[labels].mean())
    assert made.alone.cost.value == 0.0
    read = (probe >= low) & (probe < high)
    share = 0.01 * read[labels].mean() + 0.99 * read[~labels].mean()
    assert 1000 * made.test.cost.value == pytest.approx(20.0 * share)


def test_the_text_of_a_plan_says_who_reads_what_and_what_comes_of_it(lists):
    told = to_text(planned(lists, 5.0, price=20.0), 5.0, unit="in the price's currency")
    assert "llm reads logits from" in told
    assert "test, probe alone" in told
    assert told.count("[") == 9
    nothing = to_text(planned(lists, 0.0, price=20.0), 0.0, unit="in the price's currency")
    assert "probe alone, which flags from the logit 0.3000 on" in nothing


def test_a_budget_that_nothing_keeps_names_the_cheapest(lists):
    with pytest.raises(UserError, match=r"no plan keeps 10 for 1,000 conversations; .* alone needs 1\.\d+e\+05"):
        planned(lists, 10)


def row(budget, logit, **others):
    return {"budget": budget, "logit": logit, **dict.fromkeys(RATES, 0.0), "negatives": 9, "positives": 9, **others}


def test_a_plan_starts_from_the_threshold_that_the_probe_was_saved_with(tmp_path):
    path = tmp_path / "probe.json"
    refused = row(0.001, None, source="control", refused="needs 2,995 conversations, has 714")
    write_json(path, {"thresholds": [row(0.01, 1.5), row(0.1, None), refused]})
    assert saved_threshold("probe", path, 0.01) == 1.5
    for rate in (0.1, 0.2):
        with pytest.raises(UserError, match=rf"probe has no threshold for a false positive rate of {rate}"):
            saved_threshold("probe", path, rate)
    with pytest.raises(UserError, match=r"FPR 0\.001: its control set needs 2,995 conversations"):
        saved_threshold("probe", path, 0.001)


def test_the_command_plans_with_the_probes_that_have_a_stored_threshold(lists, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("seed: 3\nevaluate: {resamples: 100}\n")
    (tmp_path / "experiments").mkdir()
    pairs = "{a: {first: probe, second: llm}, b: {first: tfidf, second: llm}}"
    text = f"cascade: {{pairs: {pairs}, shares: [0.5], selections: [mid], merge: mean}}\n"
    models = "".join(f"{name}_baseline: {{models: {{}}}}\n" for name in ("prompt", "finetune", "ask", "guard"))
    (tmp_path / "experiments/params.yaml").write_text(text + models)
    write_json(tmp_path / "data/probes/probe/seed_3/probe.json", {"thresholds": [row(0.01, 0.3)]})
    for dataset, purpose in PURPOSES.items():
        path = tmp_path / f"data/datasets/{purpose}/{dataset}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    write_scores(scores_path("probes"), lists)
    write_scores(scores_path("text_baseline"), [])
    result = CliRunner().invoke(app, ["plan", "--judge", "llm", "--price", "20", "--budget", "5"])
    assert result.exit_code == 0, result.output
    assert "Plan: probe" in result.output
    assert "in the price's currency" in result.output
    (tmp_path / "data/probes/probe/seed_3/probe.json").unlink()
    result = CliRunner().invoke(app, ["plan", "--judge", "llm", "--budget", "5"])
    assert "no first monitor of cascade.pairs is a trained probe" in str(result.exception)


def test_unknown_monitors_unknown_costs_and_other_records_are_refused(lists):
    def run(changed, pairs=PAIRS):
        cascade(config(pairs), first_seeds(changed), PURPOSES, seed=0)

    with pytest.raises(UserError, match=r"'gpt' has no scores of a_dev \(there are: llm, probe\)"):
        run(lists, [("probe", "gpt")])
    with pytest.raises(UserError, match="what probe costs on a_dev is not known"):
        run([replace(lists[0], flops=None), *lists[1:]])
    with pytest.raises(UserError, match="scores of different records of a_dev"):
        run([replace(lists[0], ids=("other", *lists[0].ids[1:])), *lists[1:]])
