"""Finetuned models on the samples of training prompts that probes get."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from models_under_pressure.baselines.data import LabelledRecords
from models_under_pressure.baselines.finetuned.classifier import make_classifier
from models_under_pressure.baselines.finetuned.reading import score, tokenised_split
from models_under_pressure.baselines.finetuned.training import train as train_classifier
from models_under_pressure.core.errors import UserError
from models_under_pressure.experiments.measure_finetuning import MeasureFinetuning
from models_under_pressure.experiments.measure_finetuning import run as measure_finetuning
from models_under_pressure.experiments.shared.samples import generator_of, nested_samples


def by_size(sizes, repeats):
    return MeasureFinetuning(models=("tiny",), sizes=sizes, repeats=repeats)


@pytest.fixture(scope="module")
def sets(making):
    def named(name, count, start):
        return LabelledRecords(name, making.sentences(count, start=start).records)

    return [named("train", 24, 0), named("validation", 8, 100), named("a_dev", 12, 200), named("b_dev", 12, 300)]


@pytest.mark.parametrize("keep_states", [False, True])
def test_a_row_is_that_of_a_model_finetuned_on_the_sample_alone(sets, settings, keep_states):
    config = settings(epochs=2, keep_states=keep_states, trained_blocks=1)
    train, validation, *tested = sets
    rows = measure_finetuning("tiny", config, sets, by_size((4, 8), repeats=2), seed=3)
    assert {(row["dataset"], row["size"]) for row in rows} == {
        (dataset, size) for dataset in ("a_dev", "b_dev", "mean") for size in (4, 8, 24)
    }
    row = next(row for row in rows if (row["dataset"], row["size"]) == ("b_dev", 8))
    expected = []
    for repeat in range(2):
        classifier = make_classifier(config, seed=3 + repeat)
        whole, held_out, test = (
            tokenised_split(one, classifier.loaded, config) for one in (train, validation, tested[1])
        )
        chosen = nested_samples(train.labels, [8], generator_of(3, repeat, "train"))[8]
        sample = replace(whole, records=tuple(whole.records[row] for row in chosen), labels=whole.labels[chosen])
        train_classifier(classifier, sample, held_out, config=config, seed=3 + repeat)
        expected.append(roc_auc_score(tested[1].labels, score(classifier, test.records, batch_tokens=256)))
    np.testing.assert_allclose(row["auroc_of_each"], expected, atol=1e-4)


def test_no_tested_conversation_may_be_trained_on(sets, settings):
    train, validation, *_ = sets
    with pytest.raises(UserError, match="which is tested on"):
        measure_finetuning(
            "tiny", settings(), [train, validation, replace(train, name="dev")], by_size((4,), 1), seed=0
        )
