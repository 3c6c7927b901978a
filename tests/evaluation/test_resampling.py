"""What a resample may and may not depend on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models_under_pressure.evaluation import intervals as resampling
from models_under_pressure.evaluation.intervals import draw, plan

labels_and_groups = st.lists(st.tuples(st.booleans(), st.integers(0, 12)), min_size=2, max_size=50).filter(
    lambda rows: len({label for label, _ in rows}) == 2
)


def weights_of(labels, groups, seed=0, resamples=50):
    return np.concatenate(list(draw(plan(labels, groups), resamples, np.random.default_rng(seed))))


@given(labels_and_groups)
def test_every_resample_holds_both_classes(rows):
    labels = np.array([label for label, _ in rows])
    weights = weights_of(labels, [group for _, group in rows])
    assert (weights[:, labels].sum(axis=1) > 0).all()
    assert (weights[:, ~labels].sum(axis=1) > 0).all()


@given(labels_and_groups)
def test_groups_are_drawn_whole(rows):
    groups = np.array([group for _, group in rows])
    weights = weights_of(np.array([label for label, _ in rows]), groups)
    for group in set(groups.tolist()):
        members = weights[:, groups == group]
        assert (members == members[:, :1]).all()


@given(labels_and_groups, st.randoms())
def test_draws_do_not_depend_on_the_order_of_records(rows, random):
    labels, groups = (np.array(column) for column in zip(*rows, strict=True))
    order = np.array(random.sample(range(len(rows)), len(rows)))
    assert (weights_of(labels, groups)[:, order] == weights_of(labels[order], groups[order])).all()


def test_draws_do_not_depend_on_the_size_of_a_chunk(monkeypatch):
    labels = np.arange(40) % 3 == 0
    groups = np.arange(40) // 2
    whole = weights_of(labels, groups)
    monkeypatch.setattr(resampling, "_CHUNK_CELLS", 90)
    assert (weights_of(labels, groups) == whole).all()


def test_without_groups_each_record_is_its_own():
    labels = np.arange(30) % 2 == 0
    weights = weights_of(labels, None, resamples=4000)
    assert (weights.sum(axis=1) == 30).all()
    assert weights.mean(axis=0) == pytest.approx(np.ones(30), abs=0.07)
    # A class keeps its size: the strata are the classes.
    assert (weights[:, labels].sum(axis=1) == 15).all()


def test_groups_of_another_length_are_refused():
    with pytest.raises(ValueError, match="groups have shape"):
        plan(np.array([True, False]), ["a"])
