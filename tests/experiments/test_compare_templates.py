"""Wordings compared: on the same records, with the AUROC of scikit-learn, the chosen one marked."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from models_under_pressure.baselines.data import LabelledRecords, read_labelled
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import write_json, write_jsonl
from models_under_pressure.core.paths import EXPERIMENT_RESULTS
from models_under_pressure.core.records import Label, Record, write_records
from models_under_pressure.experiments import compare_templates as stage
from models_under_pressure.experiments.compare_templates import compare as compare_templates

TEMPLATES = ("default", "single_word")


def records(name, size=40, label=None):
    labels = [label or (Label.HIGH if number % 2 else Label.LOW) for number in range(size)]
    return [Record(f"{name}{number:02}", f"text {number}", one) for number, one in enumerate(labels)]


def logits(rows, strength, seed=0):
    noise = np.random.default_rng(seed).normal(size=len(rows))
    return {row.id: float(strength * row.is_high + value) for row, value in zip(rows, noise, strict=True)}


def test_every_wording_has_its_auroc_on_every_set_and_a_mean():
    dev = [LabelledRecords(name, tuple(records(name))) for name in ("a_dev", "b_dev")]
    asked = {
        "llm": {
            template: {data.name: logits(data.records, strength) for data in dev}
            for template, strength in (("default", 0.2), ("single_word", 2.0))
        }
    }
    rows = compare_templates(asked, {"llm": "single_word"}, dev)
    assert [(row["dataset"], row["template"], row["chosen"]) for row in rows] == [
        (name, template, template == "single_word") for template in TEMPLATES for name in ("a_dev", "b_dev", "mean")
    ]
    found = asked["llm"]["single_word"]["a_dev"]
    expected = roc_auc_score(dev[0].labels, [found[row.id] for row in dev[0].records])
    assert rows[3]["auroc"] == pytest.approx(expected, abs=1e-4)
    assert rows[5]["auroc"] == pytest.approx((rows[3]["auroc"] + rows[4]["auroc"]) / 2, abs=1e-4)
    assert all(row["auroc_low"] < row["auroc"] < row["auroc_high"] for row in rows)


def test_a_set_of_one_class_is_left_out():
    dev = [LabelledRecords("a_dev", tuple(records("a"))), LabelledRecords("one", tuple(records("b", label=Label.LOW)))]
    rows = compare_templates({"llm": {"default": {"a_dev": logits(dev[0].records, 1)}}}, {"llm": "default"}, dev)
    assert [(row["dataset"], row["n"]) for row in rows] == [("a_dev", 40), ("mean", 40)]


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = records("a")
    write_records(Path("a.jsonl"), rows)
    folder = EXPERIMENT_RESULTS / "prompted" / "llm"
    write_json(folder / "choice.json", {"chosen": "default", "auroc": {}})
    for template in TEMPLATES:
        write_jsonl(
            folder / "a_dev" / f"{template}.jsonl",
            [{"id": id_, "logit": logit} for id_, logit in logits(rows, 1).items()],
        )
    return folder


def run():
    return stage.run([read_labelled("a_dev", Path("a.jsonl"))], models={"llm": TEMPLATES})


def test_the_stage_reads_the_rows_of_the_prompted_model(project):
    assert [(row["template"], row["chosen"]) for row in run() if row["dataset"] == "mean"] == [
        ("default", True),
        ("single_word", False),
    ]


def test_rows_of_other_records_are_an_error(project):
    write_jsonl(project / "a_dev" / "default.jsonl", [{"id": "zz", "logit": 0.0}])
    with pytest.raises(UserError, match="other records than a_dev"):
        run()


def test_a_wording_that_was_never_asked_is_an_error(project):
    (project / "a_dev" / "single_word.jsonl").unlink()
    with pytest.raises(UserError, match="file not found"):
        run()
