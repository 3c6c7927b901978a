"""The bag-of-words filter: drop the pairs that a count of words tells apart most surely.

A probe trained on such pairs may learn the words instead of the stakes. A pair tells `score(high) - score(low)`, the
difference of the log-odds that a logistic regression on words gives to its two prompts. A pair that is told apart the
wrong way round speaks against the words, and always stays.

The classifier never sees the situation it judges, and never a test prompt: within train it is cross-fitted by
situation, and test is judged by one fitted on train. Pairs stay or go whole, so that the classes stay equal.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from models_under_pressure.core.files import stable_hash
from models_under_pressure.core.records import Record
from models_under_pressure.synthesis.config import WordFilter
from models_under_pressure.synthesis.lexical import cross_fitted_scores, transferred_scores
from models_under_pressure.synthesis.selection import SPLITS, Selection, pairs_of


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
