"""Robustness on a tiny random model: every change is scored beside the same records unchanged, and beside a control."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from models_under_pressure.activations.config import ExtractConfig, ModelConfig
from models_under_pressure.activations.model import load_model
from models_under_pressure.baselines.data import LabelledRecords
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import write_jsonl
from models_under_pressure.core.records import Label, Record, write_records
from models_under_pressure.datasets.wrapping import shipped_benign
from models_under_pressure.evaluation.report import EvaluateConfig
from models_under_pressure.experiments import measure_robustness
from models_under_pressure.experiments.measure_robustness import CONTROL, MeasureRobustness, read_benign, run, sample
from models_under_pressure.experiments.shared.panel import fit_panel
from models_under_pressure.experiments.shared.sets import LabelledSet
from models_under_pressure.experiments.shared.setting import Setting
from models_under_pressure.monitor.score import score_records
from models_under_pressure.probes.data import with_labels

_SPEC = importlib.util.spec_from_file_location("monitor", Path(__file__).parents[1] / "monitor" / "conftest.py")
_MONITOR = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_MONITOR)
model_folder, store_of = _MONITOR.model_folder, _MONITOR.store_of

WORDS = {Label.HIGH: ["bleeding", "overdose", "chest pain", "fire"], Label.LOW: ["cake", "poem", "garden", "song"]}
EVALUATE = EvaluateConfig(resamples=100)


def records(name, count, seed=0):
    generator = np.random.default_rng(seed)
    labels = [Label.HIGH, Label.LOW] * (count // 2)
    return [
        Record(f"{name}_{number:02}", " ".join(generator.choice(WORDS[label], 6)), label)
        for number, label in enumerate(labels)
    ]


def config(**changed):
    settings = {
        "purposes": ["dev"],
        "records": 5,
        "padding": {"before": [4], "turns": [1]},
        "wrappings": ["jailbreak", "upper_case", "paraphrase"],
        "max_tokens": 256,
        "budget": 0.05,
        "shuffles": 4,
        "probes": {"mean": {"family": "mean_logistic"}, "last": {"family": "last"}},
    }
    return MeasureRobustness.model_validate(settings | changed)


@pytest.fixture(scope="module")
def panel(store_of, model_folder):
    def labelled(name, count, seed):
        own = records(name, count, seed)
        data = with_labels(store_of(own), own)
        return LabelledSet(name, name, data, own)

    setting = Setting(labelled("train", 40, 1), labelled("validation", 20, 2))
    model = load_model(ModelConfig(name=str(model_folder), dtype="float32"), layers=[2])
    return fit_panel(config().probes, setting, model, ExtractConfig(stored="float32"), shuffles=4)


@pytest.fixture(scope="module")
def datasets():
    return [LabelledRecords(name, tuple(records(name, 16, seed))) for seed, name in enumerate(("a_dev", "b_dev"), 3)]


def measured(panel, datasets, **settings):
    given = {"benign": shipped_benign(), "seed": 3, "evaluate": EVALUATE, "paraphrases": Path("none.jsonl")} | settings
    return run(given.pop("config", config()), panel, datasets, **given)


@pytest.fixture(scope="module")
def rows(panel, datasets):
    return measured(panel, datasets)


def find(rows, **wanted):
    return [row for row in rows if all(row.get(key) == value for key, value in wanted.items())]


def test_every_change_has_a_row_of_every_probe_and_of_the_control_by_dataset_and_for_their_mean(rows):
    tried = ["none", "before_4x", "turns_1", "jailbreak", "upper_case"]
    for change in tried:
        for dataset in ("a_dev", "b_dev", "mean"):
            found = find(rows, change=change, dataset=dataset)
            assert [row["probe"] for row in found] == ["mean", "last", CONTROL]
            assert {row["n"] for row in found} == {20 if dataset == "mean" else 10}
    assert not any("auroc_change" in row for row in find(rows, change="none"))
    assert all("auroc_change" in row for row in rows if row["change"] in tried[1:] and row["probe"] != CONTROL)


def test_unchanged_conversations_have_the_scores_that_mup_score_gives_them(rows, panel, datasets):
    (data, _) = datasets
    drawn = sample(data, 5, measure_robustness.generator_of(3, 0, data.name))
    for name, probe in panel.probes.items():
        logits = np.array([one.logit for one in score_records(drawn.records, probe, panel.model)])
        (row,) = find(rows, change="none", dataset="a_dev", probe=name)
        threshold = next(one.logit for one in probe.thresholds if one.budget == 0.05)
        flagged = logits >= (np.inf if threshold is None else threshold)
        assert row["auroc"] == pytest.approx(roc_auc_score(drawn.labels, logits), abs=1e-4)
        assert row["tpr"] == pytest.approx(flagged[drawn.labels].mean(), abs=1e-4)
        assert row["fpr"] == pytest.approx(flagged[~drawn.labels].mean(), abs=1e-4)


def test_a_change_is_the_difference_from_the_unchanged_row(rows):
    for row in find(rows, dataset="mean", probe="mean", change="before_4x"):
        (before,) = find(rows, dataset="mean", probe="mean", change="none")
        for metric in ("auroc", "tpr", "fpr"):
            assert row[f"{metric}_change"] == pytest.approx(row[metric] - before[metric], abs=2e-4)
        assert row["tokens"] > 3 * before["tokens"]


def test_the_control_knows_nothing_under_any_change(rows):
    found = find(rows, dataset="mean", probe=CONTROL)
    assert len(found) == 5
    assert all(row["auroc_low"] <= 0.5 <= row["auroc_high"] for row in found)


def test_what_does_not_fit_and_what_is_not_recorded_is_said(panel, datasets):
    small = config(padding={"before": [1, 50]}, wrappings=["paraphrase"], max_tokens=160)
    rows = measured(panel, datasets, config=small)
    assert {row["less_benign"] for row in find(rows, change="before_50x", dataset="a_dev")} == {10}
    assert {row["less_benign"] for row in find(rows, change="before_1x")} == {0}
    assert {row["truncated"] for row in rows if "probe" in row} == {0}
    (missing,) = find(rows, change="paraphrase")
    assert missing["left_out"] == "no conversation here has a paraphrase in none.jsonl"


def test_conversations_with_a_paraphrase_are_taken_first_and_compared_with_themselves(panel, datasets, tmp_path):
    swapped = ["song garden cake poem song cake", "bleeding fire overdose fire bleeding overdose"]
    told = [{"ids": f"a_dev_{number}", "dataset": "a_dev", "inputs": swapped[number % 2]} for number in range(10, 14)]
    write_jsonl(tmp_path / "told.jsonl", told)
    only = config(padding={}, wrappings=["paraphrase"], records=2)
    rows = measured(panel, datasets, config=only, paraphrases=tmp_path / "told.jsonl")
    (row,) = find(rows, change="paraphrase", dataset="mean", probe="mean")
    assert (row["n"], row["datasets"]) == (4, 1)
    assert row["auroc"] == 0  # what was high-stakes is told in the words of the others, and the other way round


def test_results_depend_neither_on_the_order_of_datasets_nor_on_the_run(rows, panel, datasets):
    again = measured(panel, list(reversed(datasets)))
    keyed = [{(row["dataset"], row["change"], row.get("probe")): row for row in found} for found in (rows, again)]
    assert keyed[0] == keyed[1]


def test_a_dataset_of_one_class_is_passed_over_and_none_at_all_is_refused(rows, panel, datasets):
    low = LabelledRecords("low_dev", tuple(one for one in datasets[0].records if one.label is Label.LOW))
    assert measured(panel, [*datasets, low]) == rows
    with pytest.raises(UserError, match="no dataset holds both classes"):
        measured(panel, [low])


def test_a_budget_without_a_stored_threshold_is_refused(panel, datasets):
    with pytest.raises(UserError, match=r"mean has no threshold for a false positive rate of 0\.3 \(there are: 0\.01"):
        measured(panel, datasets, config=config(budget=0.3))


def test_benign_text_comes_from_the_control_set_where_there_is_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert read_benign() == shipped_benign()
    write_records(Path("data/datasets/control/control.jsonl"), records("control", 4))
    assert [record.id for record in read_benign()] == [f"control_{number:02}" for number in range(4)]
