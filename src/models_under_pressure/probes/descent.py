"""AdamW on the projections of several probes at once; gradients in closed form, so NumPy is enough."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float
from pydantic import Field

from models_under_pressure.evaluation.metrics import auroc
from models_under_pressure.probes.calibration import sigmoid
from models_under_pressure.probes.family import Family, FamilyConfig, Linear
from models_under_pressure.probes.pools import Batch, Pools

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8
"""AdamW's constants (Loshchilov and Hutter 2019)."""


class DescentConfig(FamilyConfig):
    """Hyper-parameters of gradient descent (McKenzie et al. 2025, table 3)."""

    batch_size: int = Field(default=64, ge=1)
    """Records per optimiser step: the paper's 16 times 4 accumulated."""
    epochs: int = Field(default=200, ge=1)
    """Most passes over the training data; the learning rate falls along a cosine over this many."""
    patience: int = Field(default=50, ge=1)
    """Stop after this many epochs without a better validation AUROC."""
    learning_rate: float = Field(default=5e-3, gt=0)
    final_learning_rate: float = Field(default=1e-4, ge=0)
    weight_decay: float = Field(default=1e-3, ge=0)
    max_gradient_norm: float = Field(default=1.0, gt=0)
    """Longer gradients of a step are shortened to this."""


@dataclass(frozen=True, eq=False)
class Standardisation:
    """The space the weights are trained in: `(x - centre) / scale`."""

    centre: Float[np.ndarray, "hidden"]
    scale: Float[np.ndarray, "hidden"]


@dataclass(frozen=True, eq=False)
class Member:
    """One probe to be trained."""

    family: Family
    config: DescentConfig
    start: Linear


@dataclass(frozen=True, eq=False)
class Trained:
    """The best epoch's weights."""

    linear: Linear
    epoch: int
    """Passes over the data that the weights have seen; 0 is the start."""
    history: tuple[dict[str, float], ...]
    """Per epoch: training loss, validation loss and AUROC."""


def random_direction(hidden: int, generator: np.random.Generator) -> Float[np.ndarray, "hidden"]:
    """Uniform in +-1/sqrt(hidden), as PyTorch starts a linear layer."""
    bound = hidden**-0.5
    return generator.uniform(-bound, bound, size=hidden)


class _Run:
    """A member in training: its weights in the standardised space, AdamW's moments, and a copy of the best weights."""

    def __init__(self, member: Member, space: Standardisation) -> None:
        self.member = member
        self._space = space
        start = member.start
        self._weights = np.vstack(
            [start.projection * space.scale[:, None], start.bias + space.centre @ start.projection]
        )
        self._first = np.zeros_like(self._weights)
        self._second = np.zeros_like(self._weights)
        self._steps = 0
        self._best: tuple[float, int, Linear] | None = None
        self.epoch = 0
        self.history: list[dict[str, float]] = []

    @property
    def linear(self) -> Linear:
        """The weights for activations as they are (a new array: later steps cannot change it)."""
        projection = self._weights[:-1] / self._space.scale[:, None]
        return Linear(projection, self._weights[-1] - self._space.centre @ projection)

    @property
    def finished(self) -> bool:
        """Whether the epochs are used up or the patience is."""
        best_epoch = self._best[1] if self._best else self.epoch
        return self.epoch >= self.member.config.epochs or self.epoch - best_epoch >= self.member.config.patience

    def step(self, by_projection: Float[np.ndarray, "hidden columns"], by_bias: Float[np.ndarray, "columns"]) -> None:
        """One AdamW step along the gradient by the weights for activations as they are."""
        config, space = self.member.config, self._space
        gradient = np.vstack([(by_projection - np.outer(space.centre, by_bias)) / space.scale[:, None], by_bias])
        gradient *= min(1.0, config.max_gradient_norm / max(float(np.linalg.norm(gradient)), 1e-12))
        rate = self._learning_rate()
        self._steps += 1
        self._first += (1 - _BETA1) * (gradient - self._first)
        self._second += (1 - _BETA2) * (gradient**2 - self._second)
        first = self._first / (1 - _BETA1**self._steps)
        second = self._second / (1 - _BETA2**self._steps)
        self._weights *= 1 - rate * config.weight_decay
        self._weights -= rate * first / (np.sqrt(second) + _EPSILON)

    def end_epoch(self, found: dict[str, float]) -> None:
        """Note the epoch's losses, and keep a copy of the weights if they are the best yet."""
        self.epoch += 1
        self.history.append(found)
        score = found.get("validation_auroc", float(self.epoch))
        if self._best is None or score > self._best[0]:
            self._best = (score, self.epoch, self.linear)

    def result(self) -> Trained:
        """The best epoch's weights."""
        assert self._best is not None
        return Trained(self._best[2], self._best[1], tuple(self.history))

    def _learning_rate(self) -> float:
        config = self.member.config
        share = 0.5 * (1 + np.cos(np.pi * self.epoch / config.epochs))
        return config.final_learning_rate + (config.learning_rate - config.final_learning_rate) * float(share)


def descend(
    members: Sequence[Member],
    space: Standardisation,
    train: tuple[Pools, Bool[np.ndarray, "records"]],
    validation: tuple[Pools, Bool[np.ndarray, "records"]] | None,
    generator: np.random.Generator,
) -> list[Trained]:
    """Minimise the mean binary cross-entropy of each member, all reading the same batches.

    Every batch is one step, the last and smaller ones too. With a validation split, the weights returned are those of
    the epoch with the best AUROC on it; without one, those of the last epoch.
    """
    runs = [_Run(member, space) for member in members]
    pools, labels = train
    while active := [run for run in runs if not run.finished]:
        losses = np.zeros(len(active))
        for batch in pools.epoch(generator):
            losses += _step(active, batch, labels[batch.records])
        checks = _check(active, *validation) if validation else [{} for _ in active]
        for run, loss, found in zip(active, losses / len(labels), checks, strict=True):
            run.end_epoch({"train_loss": float(loss), **found})
    return [run.result() for run in runs]


def _project(runs: Sequence[_Run], batch: Batch) -> list[Float[np.ndarray, "tokens columns"]]:
    """Every member's projections, from one product."""
    linears = [run.linear for run in runs]
    together = np.hstack([linear.projection for linear in linears]).astype(np.float32)
    projections = (batch.values @ together).astype(np.float64)
    parts = np.split(projections, np.cumsum([len(linear.bias) for linear in linears])[:-1], axis=1)
    return [part + linear.bias for part, linear in zip(parts, linears, strict=True)]


def _step(runs: Sequence[_Run], batch: Batch, labels: Bool[np.ndarray, "records"]) -> Float[np.ndarray, "members"]:
    """One step of each member; returns the sums of their losses over the batch's records."""
    by_projections, losses = [], []
    for run, projections in zip(runs, _project(runs, batch), strict=True):
        pooled = run.member.family.pool(projections, batch.segments, run.member.config)
        losses.append(_cross_entropy(pooled.logits, labels).sum())
        by_logit = (sigmoid(pooled.logits) - labels) / len(labels)
        by_projections.append(batch.segments.spread(by_logit)[:, None] * pooled.gradient)
    gradients = (batch.values.T @ np.hstack(by_projections).astype(np.float32)).astype(np.float64)
    parts = np.split(gradients, np.cumsum([part.shape[1] for part in by_projections])[:-1], axis=1)
    for run, gradient, by_projection in zip(runs, parts, by_projections, strict=True):
        run.step(gradient, by_projection.sum(axis=0))
    return np.array(losses)


def _check(runs: Sequence[_Run], pools: Pools, labels: Bool[np.ndarray, "records"]) -> list[dict[str, float]]:
    """Each member's loss and AUROC on the validation split."""
    logits = np.empty((len(runs), len(labels)))
    for batch in pools.epoch(None):
        for row, run, projections in zip(logits, runs, _project(runs, batch), strict=True):
            row[batch.records] = run.member.family.pool(projections, batch.segments, run.member.config).logits
    return [
        {"validation_loss": float(_cross_entropy(row, labels).mean()), "validation_auroc": auroc(row, labels)}
        for row in logits
    ]


def _cross_entropy(
    logits: Float[np.ndarray, "records"], labels: Bool[np.ndarray, "records"]
) -> Float[np.ndarray, "records"]:
    return np.logaddexp(0.0, logits) - labels * logits
