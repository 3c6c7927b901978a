"""Monitors that read the text only: its length, and word counts. A probe that they match has learned nothing more.

Paper, appendix on confounders: TF-IDF of word n-grams with a linear SVM. Logistic regression on the same features,
text length, and a control that is fitted on shuffled labels are this project's additions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int64
from pydantic import Field

from models_under_pressure.baselines.data import LabelledRecords, to_scores
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.section import Section
from models_under_pressure.evaluation.scores import ScoreList


class TextBaselineConfig(Section):
    """TF-IDF features and the classifiers on them; the defaults are the paper's (section C.6, scikit-learn names)."""

    max_features: int = Field(default=20_000, ge=1)
    """Most frequent word n-grams that are kept."""
    longest_ngram: int = Field(default=3, ge=1)
    """Words of the longest n-gram."""
    min_documents: int = Field(default=3, ge=1)
    """Training records that an n-gram must occur in."""
    max_document_share: float = Field(default=0.9, gt=0, le=1)
    """Share of the training records that an n-gram may occur in."""
    inverse_regularisation: float = Field(default=1.0, gt=0)
    """Inverse regularisation (C) of the linear SVM and the logistic regression."""
    control_seeds: int = Field(default=5, ge=1)
    """Shuffles of the training labels that the control is fitted on."""


MONITORS = ("length", "tfidf_svm", "tfidf_logistic", "shuffled_labels")
"""Names of the text monitors; `shuffled_labels` is the control, a `tfidf_logistic` that can have learned nothing."""


@dataclass(frozen=True, eq=False)
class TextMonitor:
    """A fitted monitor: texts in, logits out."""

    name: str
    seed: int
    score: Callable[[list[str]], Float[np.ndarray, "records"]]
    features: Callable[[list[str]], Int64[np.ndarray, "records"]]
    """Numbers that a text's score is a sum of: each costs one multiplication and one addition."""


def fit_text_monitors(train: LabelledRecords, config: TextBaselineConfig, *, seed: int) -> list[TextMonitor]:
    """Fit every text monitor; the control once per shuffle.

    Raises:
        UserError: the training records are of one class, or no word occurs in enough of them.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    if train.labels.all() or not train.labels.any():
        raise UserError("all records have one label.", where=train.name, remedy="use a training set of both classes.")
    vectorizer: Any = TfidfVectorizer(
        max_features=config.max_features,
        ngram_range=(1, config.longest_ngram),
        min_df=config.min_documents,
        max_df=config.max_document_share,
        stop_words="english",
        sublinear_tf=True,
    )
    texts = _texts(train)
    try:
        features: Any = vectorizer.fit_transform(texts)
    except ValueError as error:
        raise UserError(
            f"no n-gram is left ({error}).", where=train.name, remedy="lower `text_baseline.min_documents`."
        ) from error
    found = [_length_monitor(texts, seed)]
    for name, classifier, labels, number in _fits(train, config, seed):
        classifier.fit(features, labels)
        found.append(_linear_monitor(name, number, vectorizer, classifier))
    return found


def score_texts(monitor: TextMonitor, data: LabelledRecords) -> ScoreList:
    """Score a dataset; the probability is the sigmoid of the logit, not calibrated."""
    texts = _texts(data)
    logits = monitor.score(texts)
    return to_scores(
        data,
        monitor.name,
        seed=monitor.seed,
        logits=logits,
        probabilities=1.0 / (1.0 + np.exp(-logits)),
        tokens=[len(text.split()) for text in texts],
        flops=2 * monitor.features(texts),
    )


def _fits(train: LabelledRecords, config: TextBaselineConfig, seed: int) -> list[tuple[str, Any, np.ndarray, int]]:
    """(name, classifier, labels to fit it on, seed) of every linear monitor."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import LinearSVC

    def logistic() -> LogisticRegression:
        return LogisticRegression(C=config.inverse_regularisation, class_weight="balanced", max_iter=1000)

    svm = LinearSVC(C=config.inverse_regularisation, class_weight="balanced", random_state=seed)
    fits: list[tuple[str, Any, np.ndarray, int]] = [
        ("tfidf_svm", svm, train.labels, seed),
        ("tfidf_logistic", logistic(), train.labels, seed),
    ]
    for number in range(seed, seed + config.control_seeds):
        shuffled = np.random.default_rng(number).permutation(train.labels)
        fits.append(("shuffled_labels", logistic(), shuffled, number))
    return fits


def _linear_monitor(name: str, seed: int, vectorizer: Any, classifier: Any) -> TextMonitor:
    return TextMonitor(
        name,
        seed,
        score=lambda texts: classifier.decision_function(vectorizer.transform(texts)),
        features=lambda texts: np.diff(vectorizer.transform(texts).indptr).astype(np.int64),
    )


def _length_monitor(train: list[str], seed: int) -> TextMonitor:
    """Log of the number of characters, against the training median; that longer means higher is not fitted."""
    middle = float(np.median(_log_lengths(train)))
    return TextMonitor(
        "length",
        seed,
        score=lambda texts: _log_lengths(texts) - middle,
        features=lambda texts: np.zeros(len(texts), dtype=np.int64),
    )


def _log_lengths(texts: list[str]) -> Float[np.ndarray, "records"]:
    return np.log1p([len(text) for text in texts])


def _texts(data: LabelledRecords) -> list[str]:
    return [record.text for record in data.records]
