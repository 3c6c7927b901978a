"""Maps from a probe's logit to a probability, fitted on the validation split; and thresholds of the logit."""

import math
from collections.abc import Callable, Iterable
from importlib import import_module
from itertools import pairwise
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
from jaxtyping import Bool, Float
from pydantic import Field, model_validator

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import Frozen
from models_under_pressure.probes.family import CalibrationMethod


def sigmoid(logits: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """The logistic function, without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * logits))


def cross_entropy(
    logits: Float[np.ndarray, "records"], labels: Bool[np.ndarray, "records"] | Float[np.ndarray, "records"]
) -> Float[np.ndarray, "records"]:
    """Negative log-likelihood of each label, in nats."""
    return np.logaddexp(0.0, logits) - labels * logits


class Sigmoid(Frozen):
    """`sigmoid(slope * logit + intercept)`: Platt 1999; without intercept, temperature scaling (Guo et al. 2017)."""

    kind: Literal["sigmoid"] = "sigmoid"
    slope: float
    intercept: float = 0.0

    def probabilities(self, logits: Float[np.ndarray, "records"]) -> Float[np.ndarray, "records"]:
        """Probability of each logit."""
        return sigmoid(self.slope * logits + self.intercept)


class Isotonic(Frozen):
    """A rising curve through points, linear between them (Zadrozny and Elkan 2002)."""

    kind: Literal["isotonic"] = "isotonic"
    logits: tuple[float, ...] = Field(min_length=1)
    values: tuple[Annotated[float, Field(ge=0, le=1)], ...]

    @model_validator(mode="after")
    def _rises(self) -> "Isotonic":
        if len(self.logits) != len(self.values):
            raise ValueError("a curve needs as many values as logits")
        if any(a > b for points in (self.logits, self.values) for a, b in pairwise(points)):
            raise ValueError("a curve must rise")
        return self

    def probabilities(self, logits: Float[np.ndarray, "records"]) -> Float[np.ndarray, "records"]:
        """Probability of each logit."""
        return np.interp(logits, self.logits, self.values)


Calibration: TypeAlias = Annotated[Sigmoid | Isotonic, Field(discriminator="kind")]


def fit_calibration(
    method: CalibrationMethod, logits: Float[np.ndarray, "records"], labels: Bool[np.ndarray, "records"]
) -> Calibration | None:
    """Fit a map on logits of records that the probe was not fitted on; None for `none`."""
    fits: dict[CalibrationMethod, Callable[[np.ndarray, np.ndarray], Calibration]]
    fits = {"isotonic": _isotonic, "platt": _platt, "temperature": _temperature}
    return None if method == "none" else fits[method](logits, labels)


def _isotonic(logits: Float[np.ndarray, "records"], labels: Bool[np.ndarray, "records"]) -> Isotonic:
    from sklearn.isotonic import IsotonicRegression

    curve: Any = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip")
    curve.fit(logits, labels)
    return Isotonic(logits=tuple(curve.X_thresholds_.tolist()), values=tuple(curve.y_thresholds_.tolist()))


def _platt(logits: Float[np.ndarray, "records"], labels: Bool[np.ndarray, "records"]) -> Sigmoid:
    """Logistic regression on the logit (Platt 1999)."""
    # Platt's targets keep the slope finite when the split is separable.
    high, low = int(labels.sum()), int((~labels).sum())
    targets = np.where(labels, (high + 1) / (high + 2), 1 / (low + 2))
    spread = float(logits.std()) or 1.0
    scaled = logits / spread

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        values = parameters[0] * scaled + parameters[1]
        error = sigmoid(values) - targets
        return cross_entropy(values, targets).mean(), np.array([np.mean(error * scaled), np.mean(error)])

    start, options = np.array([1.0, 0.0]), {"gtol": 1e-9}
    slope, intercept = _scipy("optimize").minimize(loss, start, jac=True, method="BFGS", options=options).x
    return Sigmoid(slope=float(slope) / spread, intercept=float(intercept))


def _temperature(logits: Float[np.ndarray, "records"], labels: Bool[np.ndarray, "records"]) -> Sigmoid:
    def loss(log_slope: float) -> float:
        return cross_entropy(np.exp(log_slope) * logits, labels).mean()

    found = _scipy("optimize").minimize_scalar(loss, bounds=(-10.0, 10.0), method="bounded", options={"xatol": 1e-9})
    return Sigmoid(slope=float(np.exp(found.x)))


class Threshold(Frozen):
    """A threshold for a budget of false positives: promised by a control set, or found on the validation split."""

    budget: float
    """False positive rate asked for."""
    logit: float | None
    """Flag a record whose logit is at least this; None when only flagging nothing keeps the budget."""
    fpr: float
    """False positive rate found on the records of `source`."""
    fpr_low: float
    fpr_high: float
    """Ends of its 95 % Clopper-Pearson interval."""
    tpr: float
    """True positive rate found on the validation split."""
    negatives: int
    """Records of `source` that are not high-stakes; of a control set, groups of them."""
    positives: int
    source: Literal["control", "validation"] = "validation"
    """Where the negatives are from. The validation split promises nothing of other traffic."""
    bound: float | None = None
    """False positive rate that traffic like the control set's keeps, at `confidence`: `evaluation.operating_points`."""
    confidence: float = 0.95
    refused: str | None = None
    """Why there is no threshold: how many conversations it needs."""


def stored_threshold(name: str, thresholds: Iterable[Threshold], budget: float) -> Threshold | None:
    """The threshold that a probe was saved with for a false positive rate; None if it was saved with none.

    Raises:
        UserError: the probe's control set is too small for that rate.
    """
    rows = list(thresholds)
    row = next((row for row in rows if math.isclose(row.budget, budget)), None)
    if row is not None and row.refused:
        known = ", ".join(f"{one.budget:g}" for one in rows if not one.refused) or "none"
        problem = f"the probe {name!r} has no threshold at FPR {budget:g}: its control set {row.refused}."
        raise UserError(problem, remedy=f"name another rate ({known}), or train it with a larger control set.")
    return row


def threshold_table(
    logits: Float[np.ndarray, "records"], labels: Bool[np.ndarray, "records"], budgets: tuple[float, ...]
) -> tuple[Threshold, ...]:
    """One row per budget: the lowest threshold that keeps it on the validation split."""
    from models_under_pressure.evaluation.metrics import threshold_at_fpr

    rows: list[Threshold] = []
    for budget in sorted(budgets):
        threshold = threshold_at_fpr(logits, labels, budget)
        logit = float(threshold) if math.isfinite(threshold) else None
        rows.append(_threshold(budget, logit, logits[~labels], logits[labels]))
    return tuple(rows)


CONTROL_BUDGETS = (0.01, 0.001, 0.0005)
"""False positive rates of production monitors, which a control set is asked for beside the budgets of a probe."""


def control_table(
    control: Float[np.ndarray, "conversations"],
    positives: Float[np.ndarray, "records"],
    budgets: tuple[float, ...],
    *,
    confidence: float = 0.95,
) -> tuple[Threshold, ...]:
    """One row per budget: the threshold that promises it on traffic like the control set's, or why there is none.

    Args:
        control: logits of independent control conversations that had no part in fitting.
        positives: logits of high-stakes records, for the true positive rate.
        budgets: false positive rates; `CONTROL_BUDGETS` are added.
        confidence: chance, over control sets, that the promise holds.
    """
    from models_under_pressure.evaluation import operating_points as points

    rows: list[Threshold] = []
    for budget in sorted({*budgets, *CONTROL_BUDGETS}):
        rank = points.promised_rank(len(control), budget, confidence)
        logit = points.threshold_above(control, rank) if rank else None
        row = _threshold(budget, logit, control, positives)
        needed = points.conversations_needed(budget, confidence)
        promise: dict[str, Any] = {"source": "control", "confidence": confidence}
        if rank:
            promise["bound"] = points.promised_bound(len(control), rank, confidence)
        else:
            promise["refused"] = f"needs {needed:,} conversations, has {len(control):,}"
        rows.append(row.model_copy(update=promise))
    return tuple(rows)


def _threshold(
    budget: float,
    logit: float | None,
    negatives: Float[np.ndarray, "negatives"],
    positives: Float[np.ndarray, "positives"],
) -> Threshold:
    from models_under_pressure.evaluation.intervals import clopper_pearson

    false, true = (0 if logit is None else int((side >= logit).sum()) for side in (negatives, positives))
    found = clopper_pearson(false, len(negatives))
    return Threshold(
        budget=budget,
        logit=logit,
        fpr=found.value,
        fpr_low=found.low,
        fpr_high=found.high,
        tpr=true / len(positives),
        negatives=len(negatives),
        positives=len(positives),
    )


def _scipy(name: str) -> Any:
    """A part of SciPy, which knows no types; nothing that only scores needs it."""
    return import_module(f"scipy.{name}")
