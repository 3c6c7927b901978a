"""Heat maps of the report: which records, and their tokens from stored activations, without the model."""

import json
import sys

import numpy as np
import pytest

from models_under_pressure.core.conversation import Message
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import read_jsonl
from models_under_pressure.core.paths import TOKEN_SCORES, Dataset, probe_paths, scores_path
from models_under_pressure.core.records import Label, Record, write_records
from models_under_pressure.evaluation.scores import ScoreList, write_scores
from models_under_pressure.monitor.score import choose_records, load_decoder, token_texts
from models_under_pressure.probes.probe import save_probe
from models_under_pressure.stages import score_tokens

MT_DEV = Dataset("mt_dev", "dev")
IDS = ("a", "b", "c", "d", "e")
PROBABILITIES = np.array([0.9, 0.2, 0.55, 0.2, 0.7])
LABELS = np.array([True, False, True, True, False])


def scores(ids=IDS, probabilities=PROBABILITIES, labels=LABELS, dataset="mt_dev"):
    logits = np.log(probabilities / (1 - probabilities))
    return ScoreList(dataset, "attention", 42, tuple(ids), tuple(ids), labels, logits, probabilities)


def test_each_choice_takes_its_extreme_and_the_lower_id_of_equal_ones():
    every = ("highest", "lowest", "most_wrong", "most_uncertain")
    assert choose_records(scores(), every, 1) == {
        "a": ["highest"],
        "b": ["lowest"],
        "d": ["most_wrong"],
        "c": ["most_uncertain"],
    }


def test_only_what_is_on_the_wrong_side_is_wrong():
    assert list(choose_records(scores(), ["most_wrong"], 5)) == ["d", "e"]


def test_a_record_chosen_twice_is_shown_once():
    assert choose_records(scores(), ["highest", "most_uncertain"], 5)["a"] == ["highest", "most_uncertain"]


@pytest.fixture
def project(tmp_path, monkeypatch, probe, store_of):
    monkeypatch.chdir(tmp_path)
    records = [
        Record("b", (Message("user", "फायर 🧑‍🚒 <b>fire</b>\x1b[2J"), Message("assistant", "Run!")), Label.HIGH, 9),
        Record("a", "A poem about cake.", Label.LOW, 1),
        Record("c", "A garden.", Label.AMBIGUOUS),
    ]
    write_records(MT_DEV.path, records)
    store = store_of(records)
    save_probe(probe, probe_paths("attention", 42, 1)[0])
    logits = probe.decision_function(store)
    by_id = dict(zip(store.ids, probe.probabilities(logits).tolist(), strict=True))
    found = scores(("a", "b"), np.array([by_id["a"], by_id["b"]]), np.array([False, True]))
    write_scores(scores_path("probes"), [found])
    return store.path


def run(store, **changes):
    settings = {"probe": "attention", "purposes": ["dev"], "choices": ["highest", "lowest"], "records": 1} | changes
    score_tokens.run([MT_DEV], stores=[store], config=score_tokens.ScoreTokens(**settings), seed=42)
    return {row["ids"]: row for _, row in read_jsonl(TOKEN_SCORES)}


def test_what_tokens_add_sums_to_the_logit_of_the_record(project, probe):
    rows = run(project)
    assert set(rows) == {"a", "b"}
    for row in rows.values():
        assert sum(row["contributions"]) == pytest.approx(row["logit"], abs=1e-3)
        assert len({len(row[name]) for name in ("texts", "roles", "logits", "contributions")}) == 1
        assert set(row["roles"]) <= {"user", "assistant", "template"}
        unseen = [value for value, role in zip(row["contributions"], row["roles"], strict=True) if role == "template"]
        assert not any(unseen)


def test_scripts_and_emoji_of_several_tokens_are_whole_and_control_characters_shown(project):
    text = "".join(run(project)["b"]["texts"])
    assert "फायर 🧑‍🚒 <b>fire</b>\\x1b[2J" in text
    assert "\ufffd" not in text


def test_the_tokenizer_file_alone_gives_the_text_that_the_library_gives(model_folder):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    ids = tokenizer("<|im_start|>user\nफायर 🧑‍🚒 fire , ok .<|im_end|>").input_ids
    decoder = load_decoder({"model": str(model_folder), "revision": "abc"})
    assert token_texts(ids, decoder) == token_texts(ids, tokenizer)


def test_transformers_is_not_loaded(project):
    import subprocess

    lines = [
        "import sys",
        "from pathlib import Path",
        "from models_under_pressure.stages import score_tokens as stage",
        "from models_under_pressure.core.paths import Dataset",
        "config = stage.ScoreTokens(probe='attention', purposes=['dev'], choices=['highest'], records=1)",
        f"stage.run([Dataset('mt_dev', 'dev')], stores=[Path({str(project)!r})], config=config, seed=42)",
        "assert 'transformers' not in sys.modules",
    ]
    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True)
    assert json.loads(TOKEN_SCORES.read_text().splitlines()[0])["dataset"] == "mt_dev"


def test_a_probe_without_scores_is_an_error(project):
    write_scores(scores_path("probes"), [])
    with pytest.raises(UserError, match="no scores of 'attention'"):
        run(project)


def test_a_model_without_a_tokenizer_is_an_error(tmp_path):
    with pytest.raises(UserError, match="the tokenizer cannot be loaded"):
        load_decoder({"model": str(tmp_path)})
