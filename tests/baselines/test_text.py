"""Text monitors: the floor that a probe must beat."""

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

from models_under_pressure.baselines.data import LabelledRecords
from models_under_pressure.baselines.text import MONITORS, TextBaselineConfig, fit_text_monitors, score_texts
from models_under_pressure.core.conversation import Message
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.records import Label, Record
from models_under_pressure.evaluation.metrics import auroc
from models_under_pressure.stages import text_baseline

WORDS = ["engine", "garden", "window", "paper", "orange", "silver", "bridge", "dinner", "coffee", "river", "stone"]
HIGH, LOW = "hospital surgery lawsuit", "recipe holiday birthday"


def dataset(name, size, *, seed, tell=True):
    draw = np.random.default_rng(seed)
    records = []
    for row in range(size):
        high = row % 2 == 0
        told = (HIGH if high else LOW) if tell else ""
        text = " ".join([*draw.choice(WORDS, size=draw.integers(5, 30)), *draw.choice(told.split() or WORDS, size=2)])
        records.append(Record(f"{row:03}", text, Label.HIGH if high else Label.LOW))
    return LabelledRecords(name, tuple(records))


def scored(monitors, data):
    found = {}
    for monitor in monitors:
        found.setdefault(monitor.name, []).append(score_texts(monitor, data))
    return found


@pytest.fixture(scope="module")
def monitors():
    return fit_text_monitors(dataset("train", 200, seed=0), TextBaselineConfig(), seed=7)


def test_scores_are_those_of_a_scikit_learn_pipeline(monitors):
    train, data = dataset("train", 200, seed=0), dataset("dev", 60, seed=1)
    texts, labels = [record.text for record in train.records], train.labels
    classifiers = {
        "tfidf_svm": LinearSVC(class_weight="balanced", random_state=7),
        "tfidf_logistic": LogisticRegression(class_weight="balanced", max_iter=1000),
    }
    found = scored(monitors, data)
    assert set(found) == set(MONITORS)
    for name, classifier in classifiers.items():
        pipeline = make_pipeline(
            TfidfVectorizer(
                max_features=20_000, ngram_range=(1, 3), min_df=3, max_df=0.9, stop_words="english", sublinear_tf=True
            ),
            classifier,
        ).fit(texts, labels)
        expected = pipeline.decision_function([record.text for record in data.records])
        np.testing.assert_allclose(found[name][0].logits, expected)


def test_words_that_tell_are_found_and_shuffled_labels_tell_nothing(monitors):
    found = scored(monitors, dataset("dev", 400, seed=1))
    assert auroc(found["tfidf_svm"][0].logits, found["tfidf_svm"][0].labels) > 0.99
    control = [auroc(one.logits, one.labels) for one in found["shuffled_labels"]]
    assert len(control) == 5
    assert [one.seed for one in found["shuffled_labels"]] == [7, 8, 9, 10, 11]
    assert np.mean(control) < 0.9


def test_a_control_on_words_that_do_not_tell_stays_at_chance():
    monitors = fit_text_monitors(dataset("train", 300, seed=0, tell=False), TextBaselineConfig(), seed=0)
    found = scored(monitors, dataset("dev", 1000, seed=1, tell=False))
    assert np.mean([auroc(one.logits, one.labels) for one in found["shuffled_labels"]]) == pytest.approx(0.5, abs=0.05)


def test_length_ranks_by_characters_of_the_whole_conversation(monitors):
    chat = (Message("user", "short"), Message("assistant", "a much longer reply " * 20))
    records = (Record("a", "hi", Label.LOW), Record("b", chat, Label.HIGH), Record("c", "hi there", Label.LOW))
    scores = scored(monitors, LabelledRecords("dev", records))["length"][0]
    assert np.argsort(scores.logits).tolist() == [0, 2, 1]
    assert scores.flops.tolist() == [0, 0, 0]


def test_a_text_costs_two_operations_for_each_ngram_that_the_model_knows(monitors):
    records = (Record("a", "hospital xylophone", Label.HIGH), Record("b", "hospital garden river", Label.LOW))
    scores = scored(monitors, LabelledRecords("dev", records))["tfidf_svm"][0]
    assert scores.flops[0] == 2
    assert scores.flops[1] >= 6
    assert scores.tokens.tolist() == [2, 3]


def test_a_training_set_of_one_class_is_refused():
    data = LabelledRecords("train", (Record("a", "text", Label.HIGH),))
    with pytest.raises(UserError, match="one label"):
        fit_text_monitors(data, TextBaselineConfig(), seed=0)


def test_a_training_set_without_common_words_is_refused():
    records = tuple(Record(str(row), f"w{row}a w{row}b", list(Label)[row % 2]) for row in range(4))
    with pytest.raises(UserError, match="min_documents"):
        fit_text_monitors(LabelledRecords("train", records), TextBaselineConfig(), seed=0)


def test_the_stage_writes_scores_and_times_of_every_dataset(tmp_path, monkeypatch):
    from models_under_pressure.core.files import read_json
    from models_under_pressure.core.paths import Dataset, scores_path, timing_path
    from models_under_pressure.core.records import write_records
    from models_under_pressure.evaluation.scores import read_scores

    monkeypatch.chdir(tmp_path)
    datasets = [Dataset("train", "train"), Dataset("mt_dev", "dev"), Dataset("mt_test", "test")]
    sizes = {"train": 100, "mt_dev": 20, "mt_test": 10}
    for seed, one in enumerate(datasets):
        write_records(one.path, dataset(one.name, sizes[one.name], seed=seed).records)
    train, *scored = datasets
    text_baseline.run(train=train, datasets=scored, config=TextBaselineConfig(), seed=0)
    lists = read_scores(scores_path("text_baseline"))
    assert {(one.dataset, one.probe) for one in lists} == {(one.name, name) for one in scored for name in MONITORS}
    for one in scored:
        assert read_json(timing_path("text_baseline"))[one.name]["length"]["records"] == sizes[one.name]
