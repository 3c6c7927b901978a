"""The bag-of-words filter: drop the pairs that a count of words tells apart most surely.

A probe trained on such pairs may learn the words instead of the stakes. A pair tells `score(high) - score(low)`, the
difference of the log-odds that a logistic regression on words gives to its two prompts. A pair that is told apart the
wrong way round speaks against the words, and always stays.

The classifier never sees the situation it judges, and never a test prompt: within train it is cross-fitted by
situation, and test is judged by one fitted on train. Pairs stay or go whole, so that the classes stay equal.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from models_under_pressure.core.files import stable_hash
from models_under_pressure.core.records import Record
from models_under_pressure.synthesis.selection import SPLITS, Selection, WordFilter, pairs_of

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import CountVectorizer


Features = Literal["bag_of_words", "tf_idf"]
"""Which words occur; or TF-IDF of words and of pairs of words, with sublinear counts."""

WORD = r"[\w\u0900-\u0963\u0966-\u097f]{2,}"
"""Python's `\\w` leaves out the vowel signs of Devanagari, and would cut Hindi words into pieces."""

_MOST_FEATURES = 20_000
"""The most frequent words or pairs of words that a classifier knows (the paper's own confounder analysis: 20,000)."""


def keep_least_telling(records: Sequence[Record], config: WordFilter, *, seed: int) -> Selection:
    """Keep the share `config.keep` of the pairs of each split, those whose words tell the least.

    More stay where fewer are told apart the right way round.

    Raises:
        ValueError: a pair lacks a prompt, or train has fewer than two situations.
    """
    if config.keep == 1:
        return Selection(records, ())
    train, test = ([record for record in records if record.fields["split"] == split] for split in SPLITS)
    reasons: dict[str, str] = {}
    for part, scores in ((train, _train_scores(train, config, seed)), (test, _test_scores(train, test))):
        reasons |= _most_telling(part, scores, keep=config.keep, seed=seed)
    kept = [record for record in records if record.fields["pair_id"] not in reasons]
    return Selection(kept, sorted(reasons.items()))


def cross_fitted_scores(
    texts: Sequence[str],
    labels: Bool[np.ndarray, "texts"],
    groups: Sequence[str],
    *,
    features: Features,
    folds: int,
    seed: int,
) -> Float[np.ndarray, "texts"]:
    """Log-odds of high stakes of each text, from a classifier fitted on other groups.

    Raises:
        ValueError: there are fewer than two groups, or a classifier would see one class only.
    """
    fold_of = assign_folds(groups, folds=folds, seed=seed)
    scores = np.zeros(len(texts))
    for fold in np.unique(fold_of):
        inside = fold_of == fold
        learnt = [text for text, is_held_out in zip(texts, inside, strict=True) if not is_held_out]
        judged = [text for text, is_held_out in zip(texts, inside, strict=True) if is_held_out]
        scores[inside] = transferred_scores(learnt, labels[~inside], judged, features=features)
    return scores


def transferred_scores(
    texts: Sequence[str], labels: Bool[np.ndarray, "texts"], judged: Sequence[str], *, features: Features
) -> Float[np.ndarray, "judged"]:
    """Log-odds of high stakes of the texts to be judged, from a classifier fitted on the others.

    Raises:
        ValueError: the texts to learn from have one class only, or not one word.
    """
    if labels.all() or not labels.any():
        raise ValueError("a classifier of words needs texts of both classes")
    from sklearn.linear_model import LogisticRegression

    vectorizer: Any = _vectorizer(features)
    # C = 1 is scikit-learn's default; Newton's method on the sparse counts reaches the optimum to 1e-10 in a few steps.
    classifier: Any = LogisticRegression(C=1.0, solver="newton-cg", tol=1e-10)
    classifier.fit(vectorizer.fit_transform(texts), labels)
    # Rounded, so that the last bits of another machine's arithmetic change no rank.
    scores: Float[np.ndarray, judged] = classifier.decision_function(vectorizer.transform(judged))
    return np.round(scores, 6)


def assign_folds(groups: Sequence[str], *, folds: int, seed: int) -> Int[np.ndarray, "texts"]:
    """Number of the fold of each text; a group is in one fold, and folds have equally many groups, or one more.

    Raises:
        ValueError: there are fewer than two groups.
    """
    distinct = sorted(set(groups), key=lambda group: stable_hash(seed, "fold", group))
    if len(distinct) < 2:
        raise ValueError(f"{len(distinct)} groups cannot be divided into folds")
    number = {group: index % folds for index, group in enumerate(distinct)}
    return np.array([number[group] for group in groups])


def _train_scores(train: Sequence[Record], config: WordFilter, seed: int) -> Float[np.ndarray, "rows"]:
    return cross_fitted_scores(
        [record.text for record in train],
        np.array([record.is_high for record in train]),
        [str(record.fields["situation_id"]) for record in train],
        features="bag_of_words",
        folds=config.folds,
        seed=seed,
    )


def _test_scores(train: Sequence[Record], test: Sequence[Record]) -> Float[np.ndarray, "rows"]:
    if not test:
        return np.zeros(0)
    return transferred_scores(
        [record.text for record in train],
        np.array([record.is_high for record in train]),
        [record.text for record in test],
        features="bag_of_words",
    )


def _most_telling(
    records: Sequence[Record], scores: Float[np.ndarray, "rows"], *, keep: float, seed: int
) -> dict[str, str]:
    """Pair id -> reason, of the pairs to drop."""
    score = {record.id: float(value) for record, value in zip(records, scores, strict=True)}
    tells: dict[str, float] = {}
    for pair_id, members in pairs_of(records).items():
        if sorted(record.is_high for record in members) != [False, True]:
            raise ValueError(f"pair {pair_id} is not one high-stakes and one low-stakes prompt")
        tells[pair_id] = sum(score[record.id] * (1 if record.is_high else -1) for record in members)
    order = sorted(tells, key=lambda pair: (-tells[pair], stable_hash(seed, "word_filter", pair)))
    most = len(order) - round(len(order) * keep)
    return {
        pair: f"its words tell the prompts apart (log-odds {tells[pair]:.2f})"
        for pair in order[:most]
        if tells[pair] > 0
    }


def _vectorizer(features: Features) -> "CountVectorizer":
    from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

    if features == "bag_of_words":
        return CountVectorizer(token_pattern=WORD, max_features=_MOST_FEATURES, binary=True)
    return TfidfVectorizer(token_pattern=WORD, max_features=_MOST_FEATURES, ngram_range=(1, 2), sublinear_tf=True)
