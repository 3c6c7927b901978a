"""Which generated prompts become training data: always whole pairs, so that classes stay equal; and the word filter.

The bag-of-words filter drops the pairs that a count of words tells apart most surely: a probe trained on such pairs may
learn the words instead of the concept. A pair tells `score(high) - score(low)`, the difference of the log-odds that a
logistic regression on words gives to its two prompts. A pair that is told apart the wrong way round speaks against the
words, and always stays. No text is judged by a classifier that has seen its situation, for texts of one situation share
names and things; within train it is cross-fitted by situation, and test is judged by one fitted on train.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from pydantic import Field, model_validator

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import stable_hash
from models_under_pressure.core.records import Label, Record, classes_of
from models_under_pressure.core.section import Section
from models_under_pressure.synthesis.sampling import Vocabulary, in_test_split, sample_factors

SPLITS = ("train", "test")


class WordFilter(Section):
    """The bag-of-words filter: pairs that a word count tells apart most surely are dropped."""

    keep: float = Field(default=1.0, gt=0, le=1)
    """Share of the pairs of each split that is kept; 1 is no filter."""
    folds: int = Field(default=5, ge=2)
    """Parts of the situations; each part is judged by a classifier fitted on the others."""


class SynthesisConfig(Section):
    """How many training prompts are asked for, how they vary, and which of them are kept."""

    situations: int = Field(ge=0)
    """Situation pairs; a larger number extends a smaller run. 0: no training prompts are written."""
    prompts_per_situation: int = Field(ge=1)
    """Prompt pairs written for each situation pair."""
    test_fraction: float = Field(ge=0, lt=1)
    """Chance of a situation, with all its prompts, to be in the test split."""
    language_weights: dict[str, float]
    """Chance of each language."""
    neutralise: float = Field(default=0.0, ge=0, le=1)
    """Share of pairs of which a copy is written without the words that tell."""
    manipulate: float = Field(default=0.0, ge=0, le=1)
    """Share of pairs of which a copy is written with words that suggest the opposite."""
    word_filter: WordFilter = WordFilter()
    rows: int | None = Field(default=None, ge=2, multiple_of=2)
    """Rows of both splits together, drawn as `test_fraction` says; null keeps all. Fewer are an error."""
    annotate: bool = False
    """Whether the rows kept get the seven fields of metadata."""

    @model_validator(mode="after")
    def _weights_are_chances(self) -> "SynthesisConfig":
        total = sum(self.language_weights.values())
        if abs(total - 1) > 1e-9:
            raise ValueError(f"language_weights sum to {total:g}, not to 1")
        if negative := [name for name, weight in self.language_weights.items() if weight < 0]:
            raise ValueError(f"language_weights of {', '.join(negative)} are negative")
        return self


@dataclass(frozen=True, slots=True)
class Selection:
    """The rows kept, in the order given, and the ids of the pairs dropped with the reason."""

    records: Sequence[Record]
    dropped: Sequence[tuple[str, str]]
    """(pair id, reason)."""


def meant_high(record: Record) -> bool:
    """Whether a prompt was written as one of the positive class."""
    return bool(record.fields[record.classes.columns[0]])


def pairs_of(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Pair id -> its rows, in the order given."""
    pairs: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        pairs[str(record.fields["pair_id"])].append(record)
    return dict(pairs)


def drop_repeats(records: Sequence[Record], *, known: Collection[Record] = ()) -> Selection:
    """Drop the pairs of which a text occurs before, in another pair or among `known`, or is its own partner.

    Texts are compared without case and white space. Of equal texts the first stays, so that a larger run, which
    adds its pairs at the end, drops none that a smaller one kept.
    """
    seen = {_normal(record): str(record.fields["pair_id"]) for record in known}
    reasons: dict[str, str] = {}
    for pair_id, members in pairs_of(records).items():
        texts = [_normal(record) for record in members]
        if len(set(texts)) < len(texts):
            reasons[pair_id] = "its two prompts are equal"
        elif earlier := next((seen[text] for text in texts if text in seen), None):
            reasons[pair_id] = f"pair {earlier} has the same text"
        else:
            seen |= dict.fromkeys(texts, pair_id)
    return _without(records, reasons)


def keep_agreeing_pairs(records: Sequence[Record]) -> Selection:
    """Keep the pairs in which both labels say what the generator meant; a row goes with its partner."""
    reasons = {pair_id: reason for pair_id, members in pairs_of(records).items() if (reason := _reason(members))}
    return _without(records, reasons)


def pairs_wanted(rows: int, test_fraction: float) -> dict[str, int]:
    """Split -> pairs, of so many rows."""
    test = round(rows / 2 * test_fraction)
    return {"train": rows // 2 - test, "test": test}


def draw_rows(records: Sequence[Record], *, rows: int, test_fraction: float, seed: int) -> Selection:
    """Draw whole pairs up to `rows` rows: `test_fraction` of them from the test split, the others from train.

    Raises:
        UserError: a split has fewer (never a silent shrink).
    """
    drawn: set[str] = set()
    for split, wanted in pairs_wanted(rows, test_fraction).items():
        pairs = pairs_of([record for record in records if record.fields["split"] == split])
        if len(pairs) < wanted:
            problem = f"{2 * wanted:,} {split} rows asked for, but only {2 * len(pairs):,} are left after selection."
            remedy = "raise synthesise.situations (the prompts that exist are not paid again), or lower `rows`."
            raise UserError(problem, where="params.yaml: synthesise.rows", remedy=remedy)
        drawn |= set(sorted(pairs, key=lambda pair: stable_hash(seed, "draw", pair))[:wanted])
    return _without(records, dict.fromkeys(set(pairs_of(records)) - drawn, "not drawn"))


def check_plan(config: SynthesisConfig, vocabulary: Vocabulary, *, seed: int) -> None:
    """See that each split gets situations, and can get the rows asked for.

    Raises:
        UserError: it cannot, even if the model writes every pair and none is dropped.
    """
    drawn = sample_factors(vocabulary.factors, count=config.situations, seed=seed)
    situations = Counter(
        SPLITS[in_test_split(factors.situation_id, test_fraction=config.test_fraction, seed=seed)] for factors in drawn
    )
    for split in SPLITS:
        if not situations[split]:
            problem = f"the {split} split has no rows: no situation falls into it."
            remedy = "raise `situations` or change `test_fraction`."
            raise UserError(problem, where="params.yaml: synthesise", remedy=remedy)
    if config.rows is None:
        return
    copies = 1 + bool(config.neutralise) + bool(config.manipulate)
    for split, wanted in pairs_wanted(config.rows, config.test_fraction).items():
        most = situations[split] * config.prompts_per_situation * copies
        if most < wanted:
            raise UserError(
                f"{2 * wanted:,} {split} rows asked for, but {situations[split]:,} situations give {2 * most:,}.",
                where="params.yaml: synthesise.rows",
                remedy="raise `situations` or prompts_per_situation, or lower `rows`.",
            )


def _without(records: Sequence[Record], reasons: dict[str, str]) -> Selection:
    kept = [record for record in records if record.fields["pair_id"] not in reasons]
    return Selection(kept, sorted(reasons.items()))


def _normal(record: Record) -> str:
    return " ".join(record.text.casefold().split())


def _reason(members: Sequence[Record]) -> str | None:
    if len(members) != 2:
        return "its partner has no answer"
    for record in members:
        meant = Label.HIGH if meant_high(record) else Label.LOW
        if record.label != meant:
            return f"{record.id} was meant {record.classes.word(meant)} and labelled {record.label_word or 'not'}"
    return None


Features = Literal["bag_of_words", "tf_idf"]
"""Which words occur; or TF-IDF of words and of pairs of words, with sublinear counts."""
Texts = Sequence[str] | np.ndarray

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
    texts, labels = [record.text for record in train], np.array([record.is_high for record in train])
    situations = [str(record.fields["situation_id"]) for record in train]
    scores = cross_fitted_scores(texts, labels, situations, features="bag_of_words", folds=config.folds, seed=seed)
    reasons = _most_telling(train, scores, keep=config.keep, seed=seed)
    if test:
        scores = transferred_scores(texts, labels, [record.text for record in test], features="bag_of_words")
        reasons |= _most_telling(test, scores, keep=config.keep, seed=seed)
    return _without(records, reasons)


def cross_fitted_scores(
    texts: Sequence[str],
    labels: Bool[np.ndarray, "texts"],
    groups: Sequence[str],
    *,
    features: Features,
    folds: int,
    seed: int,
) -> Float[np.ndarray, "texts"]:
    """Log-odds of the positive class of each text, from a classifier fitted on other groups.

    Raises:
        ValueError: there are fewer than two groups, or a classifier would see one class only.
    """
    fold_of = assign_folds(groups, folds=folds, seed=seed)
    every, scores = np.array(texts, dtype=object), np.zeros(len(texts))
    for fold in np.unique(fold_of):
        inside = fold_of == fold
        scores[inside] = transferred_scores(every[~inside], labels[~inside], every[inside], features=features)
    return scores


def transferred_scores(
    texts: Texts, labels: Bool[np.ndarray, "texts"], judged: Texts, *, features: Features
) -> Float[np.ndarray, "judged"]:
    """Log-odds of the positive class of the texts to be judged, from a classifier fitted on the others.

    Raises:
        ValueError: the texts to learn from have one class only, or not one word.
    """
    if labels.all() or not labels.any():
        raise ValueError("a classifier of words needs texts of both classes")
    from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    words: dict[str, Any] = {"token_pattern": WORD, "max_features": _MOST_FEATURES}
    counts = CountVectorizer(binary=True, **words)
    vectorizer: Any = (
        counts if features == "bag_of_words" else TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, **words)
    )
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


def _most_telling(
    records: Sequence[Record], scores: Float[np.ndarray, "rows"], *, keep: float, seed: int
) -> dict[str, str]:
    """Pair id -> reason, of the pairs to drop."""
    score = {record.id: float(value) for record, value in zip(records, scores, strict=True)}
    tells: dict[str, float] = {}
    for pair_id, members in pairs_of(records).items():
        if sorted(record.is_high for record in members) != [False, True]:
            classes = classes_of(members)
            raise ValueError(f"pair {pair_id} is not one {classes.positive} and one {classes.negative} prompt")
        tells[pair_id] = sum(score[record.id] * (1 if record.is_high else -1) for record in members)
    order = sorted(tells, key=lambda pair: (-tells[pair], stable_hash(seed, "word_filter", pair)))
    most = len(order) - round(len(order) * keep)
    return {
        pair: f"its words tell the prompts apart (log-odds {tells[pair]:.2f})"
        for pair in order[:most]
        if tells[pair] > 0
    }
