"""Asking a model: rows survive a crash, only what changed is computed again, the wording is chosen on dev."""

import json
from dataclasses import replace

import numpy as np
import pytest
from stakes import STAKES
from typer.testing import CliRunner

from models_under_pressure.baselines.data import LabelledRecords
from models_under_pressure.baselines.prompted import run as prompted
from models_under_pressure.baselines.prompted.run import PromptConfig, PromptedMonitor, PromptedScores, choose_template
from models_under_pressure.core.paths import EXPERIMENT_RESULTS, Dataset, scores_path, timing_path
from models_under_pressure.core.records import write_records
from models_under_pressure.evaluation.scores import read_scores
from models_under_pressure.experiments import prompt_baseline

TEMPLATES = ("single_word", "single_letter")


@pytest.fixture
def model(language_model_directory):
    return str(language_model_directory("llama"))


@pytest.fixture
def config(model):
    return PromptConfig(name=model, dtype="float32", templates=TEMPLATES)


@pytest.fixture
def computed(monkeypatch):
    """Names of the datasets whose scores are computed, not read."""
    calls = []
    real = prompted.score_prompts

    def counted(reader, architecture, data, template, config):
        calls.append((data.name, template.name))
        return real(reader, architecture, data, template, config)

    monkeypatch.setattr(prompted, "score_prompts", counted)
    return calls


def test_rows_are_read_again_to_the_last_bit(config, model, conversations, tmp_path, computed):
    first = PromptedMonitor(config, tmp_path, model=model, concept=STAKES).score(conversations, "single_word")
    again = PromptedMonitor(config, tmp_path, model=model, concept=STAKES).score(conversations, "single_word")
    assert computed == [("mt_dev", "single_word")]
    for name in ("high", "low", "tokens", "flops"):
        assert np.array_equal(getattr(first, name), getattr(again, name))
    rows = [json.loads(line) for line in (tmp_path / "mt_dev" / "single_word.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == [record.id for record in conversations.records]
    odds = np.exp([row["high_log_likelihood"] - row["low_log_likelihood"] for row in rows])
    np.testing.assert_allclose([row["probability"] for row in rows], odds / (1 + odds))


def test_an_edited_dataset_alone_is_asked_again(config, model, conversations, tmp_path, computed):
    other = replace(conversations, name="mts_dev")
    for data in (conversations, other):
        PromptedMonitor(config, tmp_path, model=model, concept=STAKES).score(data, "single_word")
    first, *rest = other.records
    edited = LabelledRecords("mts_dev", (replace(first, input="Another text."), *rest))
    for data in (conversations, edited):
        PromptedMonitor(config, tmp_path, model=model, concept=STAKES).score(data, "single_word")
    assert computed == [("mt_dev", "single_word"), ("mts_dev", "single_word"), ("mts_dev", "single_word")]


@pytest.mark.parametrize("change", [{"max_tokens": 600}, {"dtype": "bfloat16"}], ids=["longest prompt", "precision"])
def test_rows_made_in_another_way_are_not_believed(change, config, model, conversations, tmp_path, computed):
    PromptedMonitor(config, tmp_path, model=model, concept=STAKES).score(conversations, "single_word")
    changed = config.model_copy(update=change)
    PromptedMonitor(changed, tmp_path, model=model, concept=STAKES).score(conversations, "single_word")
    assert len(computed) == 2


def test_rows_without_their_description_are_computed_again(config, model, conversations, tmp_path, computed):
    monitor = PromptedMonitor(config, tmp_path, model=model, concept=STAKES)
    monitor.score(conversations, "single_word")
    (tmp_path / "mt_dev" / "single_word.json").unlink()  # as a crash between the two files leaves it
    monitor.score(conversations, "single_word")
    assert len(computed) == 2


def test_the_wording_with_the_best_mean_on_dev_is_chosen(conversations):
    sign = {"first": -1.0, "second": 1.0}

    def score(data, template):
        values = sign[template] * data.labels.astype(float)
        zeros = np.zeros(len(values))
        return PromptedScores(values, zeros, zeros.astype(int), zeros.astype(int), 0.0)

    chosen, aurocs = choose_template(score, [conversations], ["first", "second"])
    assert chosen == "second"
    assert aurocs == {"first": {"mt_dev": 0.0}, "second": {"mt_dev": 1.0}}


def test_the_stage_tries_wordings_on_dev_and_scores_test_with_the_best(
    config, model, conversations, tmp_path, monkeypatch, computed
):
    monkeypatch.chdir(tmp_path)
    datasets = [Dataset("mt_dev", "dev"), Dataset("mt_test", "test")]
    for dataset in datasets:
        write_records(dataset.path, conversations.records)
    prompt_baseline.run("tiny", model=model, config=config, concept=STAKES, datasets=datasets, seed=3)
    choice = json.loads((EXPERIMENT_RESULTS / "prompted/tiny/choice.json").read_text())
    assert set(choice["auroc"]) == set(TEMPLATES)
    assert computed == [*(("mt_dev", name) for name in TEMPLATES), ("mt_test", choice["chosen"])]
    lists = read_scores(scores_path("prompted_tiny", EXPERIMENT_RESULTS))
    assert [scores.dataset for scores in lists] == ["mt_dev", "mt_test"]
    for scores in lists:
        assert (scores.probe, scores.seed, len(scores.ids)) == ("prompted_tiny", 3, len(conversations.records))
        assert (scores.flops > 0).all()
        assert (scores.tokens > 50).all()
    assert set(json.loads(timing_path("prompted_tiny").read_text())) == {"mt_dev", "mt_test"}


def test_the_command_prints_a_table_of_wordings_for_any_file(model, conversations, tmp_path, monkeypatch):
    from models_under_pressure.cli import app

    monkeypatch.chdir(tmp_path)
    write_records(tmp_path / "mine.jsonl", conversations.records)
    arguments = ["baselines", "prompted", "--model", model, "--dataset", "mine.jsonl", "--out", "rows"]
    result = CliRunner().invoke(app, [*arguments, "--template", "single_word", "--dtype", "float32"])
    assert result.exit_code == 0, result.output
    assert "single_word" in result.output
    assert "best wording: single_word" in result.output
    assert len(list((tmp_path / "rows").glob("*/mine/single_word.jsonl"))) == 1
