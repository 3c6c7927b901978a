"""A head that starts as a linear probe."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from models_under_pressure.baselines.finetuned import training
from models_under_pressure.baselines.finetuned.checkpoint import Checkpoints
from models_under_pressure.baselines.finetuned.classifier import fit_head, make_classifier
from models_under_pressure.baselines.finetuned.reading import pooled_states, score
from models_under_pressure.baselines.finetuned.training import train


@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_it_scores_as_scikit_learns_logistic_regression(settings, split, pooling):
    classifier = make_classifier(settings(pooling=pooling), seed=0)
    data, unseen = split(40), split(20, start=700)
    features, others = (pooled_states(classifier, one.records, batch_tokens=256) for one in (data, unseen))
    fit_head(classifier, features, data.labels)
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.001, max_iter=10_000)).fit(features, data.labels)
    found = score(classifier, unseen.records, batch_tokens=100)
    np.testing.assert_allclose(found, probe.decision_function(others), rtol=1e-3, atol=1e-4)
    assert np.ptp(found) > 0.01


def test_a_run_that_goes_on_does_not_fit_its_head_again(settings, split, tmp_path, monkeypatch):
    data, validation = split(24), split(8, start=500)
    fits = []
    monkeypatch.setattr(training, "fit_head", lambda *arguments: fits.append(1) or fit_head(*arguments))
    config = settings(head="fitted", epochs=3, patience=3)
    whole = make_classifier(config, seed=0)
    train(whole, data, validation, config=config, seed=0)
    kept = Checkpoints(tmp_path / "run")
    shorter = config.model_copy(update={"epochs": 1})
    train(make_classifier(config, seed=0), data, validation, config=shorter, seed=0, checkpoints=kept)
    resumed = make_classifier(config, seed=0)
    train(resumed, data, validation, config=config, seed=0, checkpoints=kept)
    assert len(fits) == 2
    for name, weight in resumed.copies().items():
        np.testing.assert_array_equal(weight.numpy(), whole.copies()[name].numpy(), err_msg=name)
