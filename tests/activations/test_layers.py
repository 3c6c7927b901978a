"""Several layers side by side, against plain concatenation."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from models_under_pressure.activations.config import ProbeParams
from models_under_pressure.activations.layers import LayerStack, stacked
from models_under_pressure.activations.ragged import ArrayActivations
from models_under_pressure.activations.store import entries
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.paths import Dataset

LENGTHS = (2, 3, 1)


def of_layer(layer, hidden=2):
    tokens = sum(LENGTHS)
    return ArrayActivations(
        values=np.random.default_rng(layer).normal(size=(tokens, hidden)).astype(np.float32),
        offsets=np.cumsum([0, *LENGTHS]),
        ids=["a", "b", "c"],
        roles=(np.arange(tokens) % 4).astype(np.int8),
        attributes={"model": "tiny", "layer": layer, "dataset": "d"},
        token_ids=np.arange(tokens, dtype=np.int32),
    )


@given(st.permutations([3, 7, 11]), st.integers(0, 6), st.integers(0, 6))
def test_a_stack_reads_what_concatenated_arrays_hold_whatever_the_order_given(order, start, stop):
    stack = LayerStack([of_layer(layer) for layer in order])
    joined = np.concatenate([of_layer(layer).values for layer in (3, 7, 11)], axis=1)
    np.testing.assert_array_equal(stack.read(start, stop), joined[start:stop])
    assert stack.hidden == 6
    assert stack.attributes == {"model": "tiny", "layers": [3, 7, 11], "dataset": "d"}
    assert (list(stack.ids), stack.offsets.tolist()) == (["a", "b", "c"], [0, 2, 5, 6])
    assert stack.token_ids.tolist() == list(range(6))


def test_one_layer_stays_what_it_is():
    alone = of_layer(3)
    assert stacked([alone]) is alone


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"attributes": {"model": "other", "layer": 7, "dataset": "d"}}, "model"),
        ({"attributes": {"model": "tiny", "layer": 7, "dataset": "e"}}, "dataset"),
        ({"attributes": {"model": "tiny", "layer": 7, "dataset": "d", "adapter_revision": "x"}}, "adapter_revision"),
        ({"ids": ["a", "b", "d"]}, "records"),
        ({"offsets": np.array([0, 1, 5, 6])}, "offsets"),
        ({"token_ids": np.arange(1, 7)}, "token_ids"),
        ({"roles": np.zeros(6, dtype=np.int8)}, "roles"),
    ],
)
def test_layers_of_other_tokens_are_refused_and_the_difference_is_named(change, named):
    with pytest.raises(UserError, match=rf"layers 3 and 7 differ in {named},"):
        LayerStack([of_layer(3), replace(of_layer(7), **change)])


def test_a_layer_given_twice_is_refused():
    with pytest.raises(UserError, match="3; 3 are not distinct"):
        LayerStack([of_layer(3), of_layer(3)])


def test_stores_of_several_layers_lie_in_the_folder_of_the_one_that_is_named():
    place, dataset = ProbeParams(layer=16, layers=(21, 16, 11)), Dataset("mt_dev", "dev")
    assert place.stores("llama-1b", dataset) == {
        11: Path("data/activations/llama-1b/layer_16/dev/layer_11/mt_dev.zarr"),
        16: Path("data/activations/llama-1b/layer_16/dev/mt_dev.zarr"),
        21: Path("data/activations/llama-1b/layer_16/dev/layer_21/mt_dev.zarr"),
    }
    assert ProbeParams(layer=16).reads == (16,)
    with pytest.raises(ValidationError, match="distinct"):
        ProbeParams(layer=16, layers=(11, 11))


def test_the_list_of_stores_knows_the_layer_of_each(tmp_path):
    for layer, path in ProbeParams(layer=16, layers=(16, 11)).stores("org/model", Dataset("mt_dev", "dev")).items():
        (tmp_path / path).mkdir(parents=True)
        (found,) = entries(tmp_path / "data/activations", layers=[layer])
        assert (found.model, found.dataset, found.layer) == ("org/model", "mt_dev", layer)
