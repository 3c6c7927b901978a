"""Probes as scikit-learn estimators: for pipelines, cross-validation and quick looks at arrays."""

from typing import Any, TypeAlias, TypeGuard

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, validate_data

from models_under_pressure.activations.ragged import USER, Activations, ArrayActivations
from models_under_pressure.probes.config import ProbeConfig
from models_under_pressure.probes.data import TrainingData
from models_under_pressure.probes.families import FAMILIES
from models_under_pressure.probes.training import fit_probe

_validate: Any = validate_data
"""Its annotations come from defaults that stand for something else."""

Input: TypeAlias = Activations | ArrayLike
"""Ragged activations, or an array [records, features] whose rows are records of one token."""


class ProbeClassifier(ClassifierMixin, BaseEstimator):
    """A probe with `fit`, `decision_function`, `predict_proba`, `predict` and `score_tokens`.

    Labels may be any two values; the greater one is the positive class.
    """

    def __init__(self, config: ProbeConfig | None = None, *, seed: int = 0) -> None:
        self.config = config
        self.seed = seed

    def fit(self, X: Input, y: ArrayLike | None = None, groups: ArrayLike | None = None) -> "ProbeClassifier":
        """Fit without a validation split; `groups` keep records together in a family's own cross-validation.

        Raises:
            ValueError: shapes do not agree, values are not finite, or labels are not of two classes.
            UserError: the family refuses the data.
        """
        activations, labels = self._checked(X, y, reset=True)
        names = np.arange(len(labels)) if groups is None else np.asarray(groups)
        config = FAMILIES["mean_logistic"].config() if self.config is None else self.config
        data = TrainingData(activations, labels == self.classes_[1], [str(name) for name in names])
        self.probe_ = fit_probe(config, data, None, seed=self.seed)
        return self

    def decision_function(self, X: Input) -> Float[np.ndarray, "records"]:
        """Logit of each record."""
        check_is_fitted(self)
        return self.probe_.decision_function(self._checked(X)[0])

    def predict_proba(self, X: Input) -> Float[np.ndarray, "records 2"]:
        """Probability of each class, in the order of `classes_`."""
        check_is_fitted(self)
        high = self.probe_.predict_proba(self._checked(X)[0])
        return np.column_stack([1.0 - high, high])

    def predict(self, X: Input) -> np.ndarray:
        """The likelier class of each record."""
        likelier = self.decision_function(X) > 0
        return self.classes_[likelier.astype(int)]

    def score_tokens(self, X: Input) -> Float[np.ndarray, "tokens"]:
        """Logit of each token on its own."""
        check_is_fitted(self)
        return self.probe_.score_tokens(self._checked(X)[0])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags

    def _checked(self, X: Input, y: ArrayLike | None = None, *, reset: bool = False) -> tuple[Activations, Any]:
        if _is_ragged(X):
            activations, labels = X, np.asarray([] if y is None else y)
        elif reset:
            if y is None:
                raise ValueError("ProbeClassifier requires y to be passed, but the target y is None.")
            rows, labels = _validate(self, X, y)
            activations = _one_token_each(rows)
        else:
            activations, labels = _one_token_each(_validate(self, X, reset=False)), None
        if reset:
            self._learn_classes(labels)
        return activations, labels

    def _learn_classes(self, labels: Any) -> None:
        check_classification_targets(labels)
        self.classes_ = np.unique(labels)
        if len(self.classes_) != 2:
            kind = type_of_target(labels)
            raise ValueError(
                f"Only binary classification is supported. The type of the target is {kind}, "
                f"with {len(self.classes_)} class" + ("es." if len(self.classes_) != 1 else ".")
            )


def _is_ragged(found: Input) -> TypeGuard[Activations]:
    return hasattr(found, "hidden")


def _one_token_each(rows: np.ndarray) -> ArrayActivations:
    count = len(rows)
    return ArrayActivations(
        values=np.asarray(rows, dtype=np.float32),
        offsets=np.arange(count + 1),
        ids=[str(number) for number in range(count)],
        roles=np.full(count, USER, dtype=np.int8),
    )
