"""Subsets and joins of labelled sets."""

import numpy as np
import pytest

from models_under_pressure.core.errors import UserError
from models_under_pressure.experiments.shared.samples import check_unseen
from models_under_pressure.experiments.shared.sets import join, take
from models_under_pressure.probes.data import in_memory


def test_a_subset_keeps_each_record_with_its_label_group_and_tokens(make_set):
    one = make_set()
    rows = np.array([5, 2, 2, 40])
    part = take(one, rows)
    assert part.data.activations.ids == [one.records[row].id for row in rows]
    assert [record.id for record in part.records] == part.data.activations.ids
    assert part.data.groups == [one.data.groups[row] for row in rows]
    np.testing.assert_array_equal(part.data.labels, one.data.labels[rows])
    tokens = np.concatenate(
        [one.data.activations.token_ids[slice(*one.data.activations.offsets[[row, row + 1]])] for row in rows]
    )
    np.testing.assert_array_equal(part.data.activations.token_ids, tokens)


def test_activations_of_another_layer_are_not_joined(make_set):
    one, other = make_set(), make_set("other")
    object.__setattr__(other.data.activations, "attributes", other.data.activations.attributes | {"layer": 4})
    with pytest.raises(UserError, match="layer is 4, not 3"):
        join([one, other])


def test_activations_larger_than_the_memory_stay_where_they_are(make_set):
    activations = make_set().data.activations
    assert in_memory(activations, 1e-9) is activations
    np.testing.assert_array_equal(in_memory(activations, 1.0).read(3, 9), activations.values[3:9])


def test_a_tested_conversation_among_the_training_records_is_refused_whatever_its_id(make_set):
    train, test = make_set(), make_set("dev", records=4, purpose="test")
    check_unseen([train], test)
    object.__setattr__(test.records[1], "input", train.records[7].input)
    with pytest.raises(UserError, match=r"record 'train_007' of train is the conversation 'dev_001' of dev"):
        check_unseen([train], test)
