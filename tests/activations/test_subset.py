"""Some of the records of other activations."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models_under_pressure.activations.ragged import ArrayActivations, Subset


def ragged(lengths):
    tokens = sum(lengths)
    return ArrayActivations(
        values=np.arange(tokens * 2, dtype=np.float32).reshape(tokens, 2),
        offsets=np.cumsum([0, *lengths]),
        ids=[f"r{number}" for number in range(len(lengths))],
        roles=(np.arange(tokens) % 4).astype(np.int8),
        attributes={"layer": 3},
    )


@given(data=st.data(), lengths=st.lists(st.integers(0, 5), min_size=1, max_size=12))
def test_a_subset_is_what_a_copy_of_the_records_would_be(data, lengths):
    whole = ragged(lengths)
    chosen = np.array(data.draw(st.lists(st.booleans(), min_size=len(lengths), max_size=len(lengths))))
    subset = Subset(whole, chosen)
    tokens = np.repeat(chosen, lengths)
    values = whole.values[tokens]
    assert subset.ids == [id_ for id_, kept in zip(whole.ids, chosen, strict=True) if kept]
    assert subset.offsets.tolist() == np.cumsum([0, *np.array(lengths)[chosen]]).tolist()
    np.testing.assert_array_equal(subset.roles, whole.roles[tokens])
    start = data.draw(st.integers(0, len(values)))
    stop = data.draw(st.integers(start, len(values)))
    np.testing.assert_array_equal(subset.read(start, stop), values[start:stop])
    assert (subset.hidden, subset.attributes) == (2, {"layer": 3})


def test_neighbours_are_read_together():
    whole, reads = ragged([2, 3, 1, 4]), []

    class Watched(ArrayActivations):
        def read(self, start, stop):
            reads.append((start, stop))
            return super().read(start, stop)

    watched = Watched(whole.values, whole.offsets, whole.ids, whole.roles, whole.attributes)
    Subset(watched, np.array([True, True, False, True])).read(0, 9)
    assert reads == [(0, 5), (6, 10)]


@pytest.mark.parametrize("chosen", [np.array([True]), np.array([0, 1])])
def test_a_choice_must_say_yes_or_no_of_every_record(chosen):
    with pytest.raises(ValueError, match="not aligned"):
        Subset(ragged([1, 1]), chosen)


def test_token_ids_follow_where_there_are_any():
    whole = ragged([2, 1])
    assert Subset(whole, np.array([True, False])).token_ids is None
    object.__setattr__(whole, "token_ids", np.array([7, 8, 9]))
    assert Subset(whole, np.array([False, True])).token_ids.tolist() == [9]
