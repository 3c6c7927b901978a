"""A probe of several layers, from conversations to a live monitor, on a real tiny model."""

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from two_kinds import IS_HIGH, TEXTS

import models_under_pressure as mup
from models_under_pressure.activations.config import ModelConfig
from models_under_pressure.activations.model import load_language_model
from models_under_pressure.core.conversation import Message
from models_under_pressure.core.records import Record
from models_under_pressure.monitor.explain import to_text
from models_under_pressure.monitor.live import Monitor
from models_under_pressure.monitor.score import load_probe_model


@pytest.fixture(scope="module")
def model(model_folder):
    return mup.load_model(str(model_folder), layer=2)


@pytest.fixture(scope="module")
def activations(model):
    return mup.extract(TEXTS, model, layer=[2, 1])


@pytest.fixture(scope="module")
def probe(activations):
    return mup.fit(activations, IS_HIGH, family="attention", epochs=2)


def test_activations_are_those_of_each_layer_side_by_side(activations, model, tmp_path):
    tokens = int(activations.offsets[-1])
    each = [mup.extract(TEXTS, model, layer=layer).read(0, tokens) for layer in (1, 2)]
    np.testing.assert_array_equal(activations.read(0, tokens), np.concatenate(each, axis=1))
    stored = mup.extract(TEXTS, model, layer=(1, 2), path=tmp_path)
    np.testing.assert_array_equal(stored.read(0, tokens), activations.read(0, tokens))
    assert {path.name for path in tmp_path.iterdir()} == {"layer_1.zarr", "layer_2.zarr"}


def test_conversations_score_as_their_activations_do(activations, probe):
    loaded = load_probe_model(probe)
    assert len(loaded.model.layers) <= 3
    found = list(mup.score(TEXTS, probe, loaded, tokens=True))
    np.testing.assert_allclose([one.logit for one in found], probe.decision_function(activations), atol=1e-4)
    np.testing.assert_allclose(found[0].tokens.contributions.sum(), found[0].logit, atol=1e-6)
    assert "layers 1, 2" in to_text(found[0], probe, colour=False)


def test_a_live_monitor_gives_what_the_finished_conversation_scores(probe, model_folder, model):
    watched = load_language_model(ModelConfig(name=str(model_folder), dtype="float32"))
    one = mup.fit(mup.extract(TEXTS, model, layer=2), IS_HIGH, family="mean")
    whole_model = mup.load_model(str(model_folder))
    end = mup.fit(mup.extract(TEXTS, whole_model, layer=[1, -1]), IS_HIGH, family="softmax")
    reply = Monitor({"two": probe, "one": one, "end": end}, watched).generate(
        (Message("user", "you are in"),), max_new_tokens=6
    )
    for _ in reply:
        pass
    record = reply.outcome.record
    for name, own, read_by in (("two", probe, model), ("one", one, model), ("end", end, whole_model)):
        (whole,) = mup.score([Record(record.id, record.messages)], own, read_by)
        assert reply.outcome.logits[name] == pytest.approx(whole.logit, abs=1e-4)


def test_scikit_learn_takes_several_layers(model, activations):
    pipeline = make_pipeline(mup.ActivationExtractor(model, layer=[1, 2]), mup.ProbeClassifier("mean"))
    joined = mup.fit(activations, IS_HIGH, family="mean").decision_function(activations)
    np.testing.assert_allclose(pipeline.fit(TEXTS, IS_HIGH).decision_function(TEXTS), joined, atol=1e-4)


def test_no_layer_at_all_is_one_line(model):
    with pytest.raises(mup.UserError, match="no layer is given"):
        mup.extract(TEXTS, model, layer=[])
