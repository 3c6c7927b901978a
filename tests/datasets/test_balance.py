import pytest
from hypothesis import given
from hypothesis import strategies as st

from models_under_pressure.core.concept import STAKES, Classes
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.records import Label, Record
from models_under_pressure.datasets.recipe import BalanceConfig, balance

EVERY = BalanceConfig(classes=STAKES.words)
rows = st.lists(st.tuples(st.sampled_from(list(Label)), st.integers(0, 5)), min_size=3, max_size=60)


def made(rows):
    return [Record(str(i), "x", label=label, fields={"group": str(g)}) for i, (label, g) in enumerate(rows)]


def counts(records, words):
    return [sum(record.label_word == word for record in records) for word in words]


@pytest.mark.parametrize("config", [BalanceConfig(), EVERY])
@given(rows=rows, random=st.randoms(), seed=st.integers())
def test_balancing_is_equal_maximal_and_independent_of_order(config, rows, random, seed):
    records = made([*rows, *((label, 9) for label in Label)])
    chosen, words = balance(records, seed=seed, config=config), config.chosen(STAKES)
    assert counts(chosen, words) == [min(counts(records, words))] * len(words)
    assert {record.label_word for record in chosen} == set(words)
    random.shuffle(records)
    assert balance(records, seed=seed, config=config) == chosen


def test_another_seed_draws_other_rows_and_the_process_random_state_plays_no_part():
    import random

    records = made([(Label.HIGH, n) for n in range(40)] + [(Label.LOW, n) for n in range(4)])
    random.seed(1)
    first = balance(records, seed=1)
    random.seed(2)
    assert balance(records, seed=1) == first
    assert balance(records, seed=2) != first


def test_a_group_is_drawn_whole_while_the_classes_allow():
    pairs = [(label, n) for n in range(30) for label in (Label.HIGH, Label.LOW)]
    chosen = balance(made(pairs), seed=3, config=BalanceConfig(per_class=10))
    groups = [record.group for record in chosen]
    assert all(groups.count(group) == 2 for group in groups)
    assert [record.id for record in chosen] == sorted(record.id for record in chosen)


def test_more_rows_than_a_class_has_are_an_error_and_never_a_silent_shrink():
    records = made([(Label.HIGH, 0), (Label.HIGH, 1), (Label.LOW, 2)])
    with pytest.raises(UserError) as caught:
        balance(records, seed=0, config=BalanceConfig(per_class=2), where="mt_b, dev split")
    assert str(caught.value) == (
        "mt_b, dev split: 2 rows per class asked for, but there are high-stakes 2, low-stakes 1 (of 3 rows). Remedy: "
        "relax the steps of this version in data/versions.yaml, lower `balance.per_class`, or change the concept's "
        "`labelling.thresholds`."
    )
    assert len(balance(records, seed=0, config=BalanceConfig(per_class=1))) == 2


def test_a_set_of_ambiguous_rows_is_an_error_that_says_so():
    records = made([(Label.AMBIGUOUS, n) for n in range(4)])
    with pytest.raises(UserError, match=r"mt_apr_16: no balanced set .* high-stakes 0, low-stakes 0 \(of 4 rows\)"):
        balance(records, seed=0, where="mt_apr_16")


def test_a_class_that_the_concept_does_not_have_is_refused_with_those_that_it_has():
    config = BalanceConfig(classes=("medium", "low-stakes"))
    with pytest.raises(UserError) as caught:
        balance(made([(Label.HIGH, 0), (Label.LOW, 1)]), seed=0, config=config, where="mt_b, dev split")
    assert str(caught.value) == (
        "mt_b, dev split: there is no class 'medium'. Remedy: use low-stakes, high-stakes, ambiguous in "
        "`balance.classes`."
    )


def test_the_classes_are_those_of_the_concept_that_the_records_are_labelled_by():
    words = Classes(positive="unsafe", negative="safe", ambiguous="unclear")
    records = [
        Record(str(n), "x", label=label, classes=words) for n, label in enumerate([Label.HIGH, Label.LOW, Label.LOW])
    ]
    assert [record.label_word for record in balance(records, seed=0)] == ["unsafe", "safe"]


def test_within_one_group_the_draw_is_by_the_id_and_the_seed():
    records = [Record(str(n), "x", label=list(Label)[n % 2], fields={"group": "g"}) for n in range(24)]
    few = BalanceConfig(per_class=3)
    draws = {tuple(record.id for record in balance(records, seed=seed, config=few)) for seed in range(9)}
    assert len(draws) > 6
    for seed in range(3):
        assert balance(records[::-1], seed=seed, config=few) == balance(records, seed=seed, config=few)
