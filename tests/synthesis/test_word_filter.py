import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.pipeline import make_pipeline

from models_under_pressure.core.records import Label, Record
from models_under_pressure.synthesis.selection import (
    WORD,
    WordFilter,
    assign_folds,
    cross_fitted_scores,
    keep_least_telling,
)


def corpus(situations=20, pairs=3, *, cue=lambda situation, pair: pair == 0, seed=0):
    """Pairs of random words; where `cue` says so, the high-stakes prompt says "grave" and the other "merry"."""
    draw = np.random.default_rng(seed)
    rows = []
    for situation in range(situations):
        for pair in range(pairs):
            words = [f"word{number}" for number in draw.integers(0, 60, 12)]
            told = cue(situation, pair)
            for high in (True, False):
                fields = {
                    "pair_id": f"{situation}-{pair}",
                    "situation_id": f"s{situation}",
                    "split": "test" if situation % 4 == 0 else "train",
                }
                cues = [("grave" if high else "merry")] if told else []
                label = Label.HIGH if high else Label.LOW
                rows.append(Record(f"{situation}-{pair}-{high}", " ".join([*cues, *words]), label, fields=fields))
    return rows


def kept_pairs(records, keep, seed=1):
    return {
        record.fields["pair_id"] for record in keep_least_telling(records, WordFilter(keep=keep), seed=seed).records
    }


def test_the_pairs_with_the_telling_word_go_first():
    assert kept_pairs(corpus(), 2 / 3) == {f"{situation}-{pair}" for situation in range(20) for pair in (1, 2)}


@settings(deadline=None, max_examples=12)
@given(st.floats(0.05, 1), st.integers(0, 50), st.randoms(use_true_random=False))
def test_classes_stay_equal_pairs_whole_and_order_changes_nothing(keep, seed, random):
    records = corpus(seed=seed)
    selection = keep_least_telling(records, WordFilter(keep=keep), seed=seed)
    counts = {}
    for record in selection.records:
        counts.setdefault(record.fields["pair_id"], []).append(record.is_high)
    assert all(sorted(classes) == [False, True] for classes in counts.values())
    for split in ("train", "test"):
        pairs = {record.fields["pair_id"] for record in records if record.fields["split"] == split}
        assert len(pairs & set(counts)) >= round(keep * len(pairs))
    assert len(counts) + len(selection.dropped) == 60
    shuffled = random.sample(records, len(records))
    assert keep_least_telling(shuffled, WordFilter(keep=keep), seed=seed).dropped == selection.dropped


def test_a_pair_whose_words_point_the_wrong_way_always_stays():
    records = corpus(cue=lambda situation, pair: True)
    swapped = [
        Record(r.id, r.input, Label.LOW if r.is_high else Label.HIGH, fields=r.fields)
        if r.fields["pair_id"].endswith("-2")
        else r
        for r in records
    ]
    assert {f"{situation}-2" for situation in range(20)} <= kept_pairs(swapped, 0.05)


def test_no_test_prompt_changes_what_train_keeps():
    records = corpus()
    changed = [
        Record(r.id, "grave grave word1", r.label, fields=r.fields) if r.fields["split"] == "test" else r
        for r in records
    ]

    def dropped_train(rows):
        selection = keep_least_telling(rows, WordFilter(keep=0.6), seed=1)
        test = {row.fields["pair_id"] for row in rows if row.fields["split"] == "test"}
        return [pair for pair in selection.dropped if pair[0] not in test]

    assert dropped_train(changed) == dropped_train(records)


def test_a_word_that_one_situation_alone_uses_tells_nothing():
    def cue(situation, pair):
        return situation == 1

    assert kept_pairs(corpus(cue=cue), 0.95) >= {f"1-{pair}" for pair in range(3)}


def test_a_share_of_one_is_no_filter():
    records = corpus()
    assert keep_least_telling(records, WordFilter(keep=1), seed=0).records == records


def test_a_pair_without_its_partner_is_an_error():
    with pytest.raises(ValueError, match=r"pair 1-0 is not one high-stakes and one low-stakes prompt"):
        keep_least_telling([r for r in corpus() if r.id != "1-0-True"], WordFilter(keep=0.5), seed=0)


def arrays(records):
    texts = [record.text for record in records]
    labels = np.array([record.is_high for record in records])
    return texts, labels, [record.fields["situation_id"] for record in records]


def test_scores_are_those_of_scikit_learn_with_the_same_folds():
    texts, labels, groups = arrays(corpus())
    ours = cross_fitted_scores(texts, labels, groups, features="bag_of_words", folds=4, seed=3)
    theirs = cross_val_predict(
        make_pipeline(CountVectorizer(binary=True), LogisticRegression(tol=1e-10, max_iter=10_000)),
        texts,
        labels,
        cv=PredefinedSplit(assign_folds(groups, folds=4, seed=3)),
        method="decision_function",
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_no_label_of_a_situation_reaches_its_own_scores():
    texts, labels, groups = arrays(corpus())
    inside = np.array([group == "s7" for group in groups])
    flipped = np.where(inside, ~labels, labels)
    for features in ("bag_of_words", "tf_idf"):
        before = cross_fitted_scores(texts, labels, groups, features=features, folds=5, seed=0)
        after = cross_fitted_scores(texts, flipped, groups, features=features, folds=5, seed=0)
        np.testing.assert_array_equal(before[inside], after[inside])
        assert (before != after).any()


@given(st.lists(st.sampled_from("abcdefghij"), min_size=1, max_size=40), st.integers(2, 6), st.integers(0, 9))
def test_folds_hold_whole_groups_and_about_equally_many(groups, folds, seed):
    if len(set(groups)) < 2:
        with pytest.raises(ValueError, match="cannot be divided"):
            assign_folds(groups, folds=folds, seed=seed)
        return
    numbers = assign_folds(groups, folds=folds, seed=seed)
    fold_of = dict(zip(groups, numbers, strict=True))
    assert [fold_of[group] for group in groups] == list(numbers)
    sizes = np.bincount(list(fold_of.values()))
    assert sizes.max() - sizes.min() <= 1


def test_hindi_words_stay_whole():
    text = "मेरी दवा कितनी सुरक्षित है।"
    words = CountVectorizer(token_pattern=WORD).build_tokenizer()(text)
    assert words == ["मेरी", "दवा", "कितनी", "सुरक्षित", "है"]
