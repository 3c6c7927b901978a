"""Activations and probes as scikit-learn takes them: in a Pipeline, in cross_val_score, in GridSearchCV."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.exceptions import NotFittedError

from models_under_pressure.activations.ragged import Activations, View
from models_under_pressure.api import Conversation, extract, family_config
from models_under_pressure.core.errors import UserError
from models_under_pressure.probes.data import TrainingData
from models_under_pressure.probes.training import fit_probe

Rows: TypeAlias = Sequence[Activations]
"""The activations of one conversation each."""


def one_by_one(activations: Activations) -> list[Activations]:
    """The activations of each conversation on their own, not copied: a list that scikit-learn can split."""
    return [View([(activations, np.array([row]))]) for row in range(len(activations.ids))]


class ActivationExtractor(TransformerMixin, BaseEstimator):
    """Turns conversations into the activations of each, in their order."""

    def __init__(
        self,
        model: Any = "smollm2-135m",
        layer: int | Sequence[int] = 11,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        """Keep a model (its name, or loaded), a decoder block from 0 or several, and fields of `ExtractConfig`."""
        self.model = model
        self.layer = layer
        self.settings = settings

    def fit(self, X: Sequence[Conversation], y: object = None) -> "ActivationExtractor":
        """Nothing is learnt from data."""
        return self

    def transform(self, X: Sequence[Conversation]) -> list[Activations]:
        """The activations of each conversation.

        Raises:
            UserError: see `api.extract`.
        """
        return one_by_one(extract(X, self.model, layer=self.layer, **(self.settings or {})))

    def __sklearn_is_fitted__(self) -> bool:
        """Always: there is nothing to fit."""
        return True


class ProbeClassifier(ClassifierMixin, BaseEstimator):
    """A probe of any family, for two classes; the second in sorted order is the positive one, as in scikit-learn."""

    def __init__(self, family: str = "attention", seed: int = 0, settings: Mapping[str, Any] | None = None) -> None:
        """Keep the family, the seed, and the family's hyper-parameters (docs/probes.md)."""
        self.family = family
        self.seed = seed
        self.settings = settings

    def fit(self, X: Rows, y: Sequence[Any], groups: Sequence[Any] | None = None) -> "ProbeClassifier":
        """Fit a probe, without a validation split: gradient descent returns its last epoch.

        Args:
            X: the activations of each conversation, from `ActivationExtractor` or `one_by_one`.
            y: their classes, two in all.
            groups: conversations of one group stay together where the family cross-validates; by default each is alone.

        Raises:
            UserError: there are not two classes, or the family refuses the data.
        """
        self.classes_ = np.unique(np.asarray(y))
        if len(self.classes_) != 2:
            problem = f"a probe tells two classes apart, and there are {len(self.classes_)}."
            raise UserError(problem, remedy="give labels of two classes.")
        labels = np.asarray(y) == self.classes_[1]
        names = [str(number) for number in range(len(labels))] if groups is None else [str(group) for group in groups]
        config = family_config(self.family, self.settings or {})
        self.probe_ = fit_probe(config, TrainingData(_joined(X), labels, names), None, seed=self.seed)
        return self

    def decision_function(self, X: Rows) -> Float[np.ndarray, "records"]:
        """Logit of the second class."""
        if not hasattr(self, "probe_"):
            raise NotFittedError("the probe is not fitted: call `fit` first")
        return self.probe_.decision_function(_joined(X))

    def predict_proba(self, X: Rows) -> Float[np.ndarray, "records 2"]:
        """Probabilities of both classes."""
        positive = self.probe_.probabilities(self.decision_function(X))
        return np.stack([1 - positive, positive], axis=1)

    def predict(self, X: Rows) -> np.ndarray:
        """The likelier class."""
        return self.classes_[(self.decision_function(X) > 0).astype(int)]


def _joined(rows: Rows) -> View:
    return View([(row, np.arange(len(row.ids))) for row in rows])
