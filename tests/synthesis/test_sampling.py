import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models_under_pressure.core.errors import UserError
from models_under_pressure.synthesis.sampling import in_test_split, sample_factors, sample_variations


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 1000), st.integers(1, 20), st.integers(0, 20))
def test_more_situations_extend_a_run_and_never_change_it(making, seed, count, more):
    few = sample_factors(making.VOCABULARY.factors, count=count, seed=seed)
    many = sample_factors(making.VOCABULARY.factors, count=count + more, seed=seed)
    assert many[:count] == few
    assert len(set(many)) == count + more


def test_a_new_topic_moves_no_situation_to_the_other_split(making):
    factors = making.VOCABULARY.factors
    wider = {**factors, "topic": [*factors["topic"], "a new topic"]}
    old = {f.situation_id for f in sample_factors(factors, count=50, seed=1)}
    both = old & {f.situation_id for f in sample_factors(wider, count=60, seed=1)}
    assert len(both) > 25
    assert {i: in_test_split(i, test_fraction=0.3, seed=1) for i in both} == {
        i: in_test_split(i, test_fraction=0.3, seed=1) for i in old & both
    }


def test_languages_are_drawn_with_their_weights(making):
    drawn = [
        variation.language
        for factors in sample_factors(making.VOCABULARY.factors, count=800, seed=3)
        for variation in sample_variations(
            making.VOCABULARY.variations,
            situation_id=factors.situation_id,
            count=5,
            language_weights=making.WEIGHTS,
            seed=3,
        )
    ]
    assert drawn.count("English") / len(drawn) == pytest.approx(0.7, abs=0.03)
    assert drawn.count("Hindi") / len(drawn) == pytest.approx(0.1, abs=0.02)


def test_the_ids_of_the_demo_are_those_that_its_answers_are_keyed_by(making):
    first, second = sample_factors(making.VOCABULARY.factors, count=46, seed=42)[:2]
    assert (first.situation_id, second.situation_id) == ("451e5ca2f060", "2f63ec8fc4d7")


def test_more_situations_than_combinations_is_an_error():
    with pytest.raises(UserError, match="3 situations asked for, but the factors give 2"):
        sample_factors({"role_of_user": ["a"], "impact_factor": ["b", "c"], "topic": ["d"]}, count=3, seed=0)
