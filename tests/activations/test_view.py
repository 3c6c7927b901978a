"""Chosen records of other activations, against plain indexing."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models_under_pressure.activations.ragged import ArrayActivations, View


def ragged(lengths, first=0):
    tokens = sum(lengths)
    return ArrayActivations(
        values=first + np.arange(tokens * 2, dtype=np.float32).reshape(tokens, 2),
        offsets=np.cumsum([0, *lengths]),
        ids=[f"r{first + number}" for number in range(len(lengths))],
        roles=(np.arange(tokens) % 4).astype(np.int8),
        attributes={"layer": 3},
    )


LENGTHS = st.lists(st.integers(0, 5), min_size=1, max_size=12)


@given(data=st.data(), lengths=st.tuples(LENGTHS, LENGTHS))
def test_a_view_is_what_a_copy_of_the_records_would_be(data, lengths):
    sources = [ragged(own, first=1000 * number) for number, own in enumerate(lengths)]
    rows = [data.draw(st.lists(st.integers(0, len(own) - 1), max_size=8)) for own in lengths]
    view = View([(source, np.array(own, dtype=int)) for source, own in zip(sources, rows, strict=True)])
    chosen = [(source, row) for source, own in zip(sources, rows, strict=True) for row in own]
    spans = [(source, slice(*source.offsets[[row, row + 1]])) for source, row in chosen]
    values = np.concatenate([np.empty((0, 2)), *(source.values[span] for source, span in spans)])
    assert view.ids == [source.ids[row] for source, row in chosen]
    assert view.offsets.tolist() == np.cumsum([0, *(span.stop - span.start for _, span in spans)]).tolist()
    roles = np.concatenate([np.empty(0, dtype=np.int8), *(source.roles[span] for source, span in spans)])
    np.testing.assert_array_equal(view.roles, roles)
    start = data.draw(st.integers(0, len(values)))
    stop = data.draw(st.integers(start, len(values)))
    np.testing.assert_array_equal(view.read(start, stop), values[start:stop])
    assert (view.hidden, view.attributes) == (2, {"layer": 3})


def test_neighbours_are_read_together():
    whole, reads = ragged([2, 3, 1, 4]), []

    class Watched(ArrayActivations):
        def read(self, start, stop):
            reads.append((start, stop))
            return super().read(start, stop)

    watched = Watched(whole.values, whole.offsets, whole.ids, whole.roles, whole.attributes)
    View([(watched, np.array([0, 1, 3]))]).read(0, 9)
    assert reads == [(0, 5), (6, 10)]


def test_records_of_two_sources_are_no_neighbours_wherever_they_lie():
    one, other = ragged([1, 2, 4]), ragged([1, 2, 4], first=1000)
    view = View([(one, np.array([1])), (other, np.array([2]))])
    np.testing.assert_array_equal(view.read(0, 6), np.concatenate([one.values[1:3], other.values[3:7]]))


def test_token_ids_follow_where_every_part_has_them():
    whole, bare = ragged([2, 1]), ragged([1])
    assert View([(whole, np.array([0]))]).token_ids is None
    object.__setattr__(whole, "token_ids", np.array([7, 8, 9]))
    assert View([(whole, np.array([1]))]).token_ids.tolist() == [9]
    assert View([(whole, np.array([1])), (bare, np.array([0]))]).token_ids is None


class Bits(ArrayActivations):
    """Activations that have the upper halves of their numbers, as a store of bfloat16 has."""

    def read_bits(self, start, stop):
        return (self.values[start:stop].view(np.uint32) >> 16).astype(np.uint16)


class Wide(ArrayActivations):
    """Activations that are float32 in their store too."""

    def read_bits(self, start, stop):
        return self.values[start:stop]


def part(kind, rows):
    whole = ragged([2, 3])
    return kind(whole.values, whole.offsets, whole.ids, whole.roles, whole.attributes), np.array(rows, dtype=int)


def test_bits_are_read_where_every_part_has_them_and_numbers_elsewhere():
    bits, numbers = part(Bits, [1])[0].read_bits(2, 5), ragged([2, 3]).values[2:]
    for parts, expected in (
        ([part(Bits, [1])], bits),
        ([part(Bits, [1]), part(Bits, [1])], np.concatenate([bits, bits])),
        ([part(Bits, [1]), part(Wide, [1])], np.concatenate([numbers, numbers])),
        ([part(Bits, [1]), part(ArrayActivations, [1])], np.concatenate([numbers, numbers])),
        ([part(Wide, [1])], numbers),
    ):
        found = View(parts).read_bits(0, len(expected))
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


def test_nothing_has_the_width_and_types_of_something():
    none = View([part(Bits, [])])
    for found in (none.read(0, 0), none.read_bits(0, 0)):
        assert (found.shape, found.dtype) == ((0, 2), np.float32)
    assert (none.offsets.tolist(), none.offsets.dtype) == ([0], np.int64)
    assert (none.roles.shape, none.roles.dtype) == ((0,), np.int8)
