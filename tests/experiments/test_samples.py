"""Nested, balanced samples."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models_under_pressure.core.errors import UserError
from models_under_pressure.experiments.shared.samples import generator_of, nested_samples


@given(
    labels=st.lists(st.booleans(), min_size=2, max_size=80).filter(lambda found: len(set(found)) == 2),
    sizes=st.lists(st.integers(1, 50).map(lambda half: 2 * half), min_size=1, max_size=6),
    seed=st.integers(0, 99),
)
def test_samples_are_balanced_and_each_is_inside_the_next(labels, sizes, seed):
    labels = np.array(labels)
    most = 2 * min(labels.sum(), (~labels).sum())
    found = nested_samples(labels, [*sizes, most], np.random.default_rng(seed))
    assert list(found) == sorted({size for size in [*sizes, most] if size <= most})
    rows = list(found.values())
    for size, chosen in found.items():
        assert len(set(chosen)) == size
        assert labels[chosen].sum() * 2 == size
    assert all(set(small) <= set(large) for small, large in pairwise(rows))


def test_other_seeds_draw_other_records():
    labels = np.arange(100) % 2 == 0
    draws = {tuple(nested_samples(labels, [8], np.random.default_rng(seed))[8]) for seed in range(5)}
    assert len(draws) == 5


@pytest.mark.parametrize("size", [0, 3, -2])
def test_a_size_that_cannot_be_balanced_is_refused(size):
    with pytest.raises(UserError, match="even sizes"):
        nested_samples(np.array([True, False]), [size], np.random.default_rng(0))


def test_samples_larger_than_any_balanced_one_are_refused():
    with pytest.raises(UserError, match="3 records give a balanced sample of at most 2"):
        nested_samples(np.array([True, False, False]), [4], np.random.default_rng(0))


def test_a_repeat_on_a_dataset_has_a_generator_of_its_own():
    draws = {generator_of(1, repeat, name).integers(1 << 60) for repeat in range(3) for name in ("a", "b")}
    assert len(draws) == 6
    assert generator_of(1, 2, "a").integers(1 << 60) == generator_of(1, 2, "a").integers(1 << 60)
