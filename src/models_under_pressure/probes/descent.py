"""AdamW on the projections of several probes at once; gradients in closed form, so NumPy is enough."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32
from pydantic import Field
from threadpoolctl import threadpool_limits

from models_under_pressure.probes.calibration import sigmoid
from models_under_pressure.probes.family import Family, FamilyConfig, Linear
from models_under_pressure.probes.pools import Batch, Pools, Space

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8
"""AdamW's constants (Loshchilov and Hutter 2019)."""

_SMALL_PRODUCT = 1 << 19
"""Multiplications of one piece of a product: under OpenBLAS's limit of 10^6 for its path without packing."""

_FEW_COLUMNS = 3
"""Up to this many columns, a vector product for each of them beats the matrix product."""

_CACHED_TOKENS = 256
"""Tokens that stay in the second-level cache from one column to the next, at a width of some thousands."""


class DescentConfig(FamilyConfig):
    """Hyper-parameters of gradient descent (McKenzie et al. 2025, table 3)."""

    batch_size: int = Field(default=64, ge=1)
    """Records per optimiser step: the paper's 16 times 4 accumulated."""
    epochs: int = Field(default=200, ge=1)
    """Most passes over the training data; the learning rate falls along a cosine over this many."""
    patience: int = Field(default=50, ge=1)
    """Stop after this many epochs without a better validation AUROC."""
    learning_rate: float = Field(default=5e-3, gt=0)
    """Step of each weight in the space where features have unit size divided by the root of their number."""
    final_learning_rate: float = Field(default=1e-4, ge=0)
    weight_decay: float = Field(default=1e-3, ge=0)
    max_gradient_norm: float = Field(default=1.0, gt=0)
    """Longer gradients of a step are shortened to this."""


def random_directions(hidden: int, columns: int, generator: np.random.Generator) -> Float[np.ndarray, "hidden columns"]:
    """Uniform in +-1/sqrt(hidden), as PyTorch starts a linear layer."""
    bound = hidden**-0.5
    return generator.uniform(-bound, bound, size=(hidden, columns))


def start_from_mean(mean: Linear, config: FamilyConfig, generator: np.random.Generator) -> Linear:
    """The best weights for the mean over tokens, with a little noise that tells seeds apart."""
    noise = random_directions(len(mean.projection), 1, generator)
    return Linear(mean.projection + noise, mean.bias)


@dataclass(frozen=True, eq=False)
class Member:
    """One probe to be trained."""

    family: Family[Any]
    config: FamilyConfig
    """Hyper-parameters of the pooling."""
    settings: DescentConfig
    """Hyper-parameters of the descent: often `config` itself."""
    start: Linear
    """First weights, in the space of the training."""


@dataclass(frozen=True, eq=False)
class Split:
    """Batches of records, and the label of each record."""

    pools: Pools
    labels: Bool[np.ndarray, "records"]


@dataclass(frozen=True, eq=False)
class Trained:
    """The best epoch's weights."""

    linear: Linear
    """Weights for activations as they are."""
    epoch: int
    """Passes over the data that the weights have seen; 0 is the start."""
    history: tuple[dict[str, float], ...]
    """Per epoch: training loss, validation loss and AUROC."""


class _Run:
    """A member in training: its weights, AdamW's moments, and a copy of the best weights."""

    def __init__(self, member: Member, space: Space) -> None:
        self.member = member
        self._space = space
        self._weights = np.vstack([member.start.projection, member.start.bias])
        self._first = np.zeros_like(self._weights)
        self._second = np.zeros_like(self._weights)
        self._steps = 0
        self._best: tuple[float, int, Linear] | None = None
        self.epoch = 0
        self.history: list[dict[str, float]] = []

    @property
    def linear(self) -> Linear:
        """The weights for activations as they are: new arrays, which later steps cannot change."""
        return self._space.to_activations(Linear(self._weights[:-1], self._weights[-1]))

    @property
    def finished(self) -> bool:
        """Whether the epochs are used up, or the patience."""
        settings = self.member.settings
        best_epoch = self._best[1] if self._best else self.epoch
        return self.epoch >= settings.epochs or self.epoch - best_epoch >= settings.patience

    def step(self, by_projection: Float[np.ndarray, "hidden columns"], by_bias: Float[np.ndarray, "columns"]) -> None:
        """One AdamW step (Loshchilov and Hutter 2019, algorithm 2), given the gradient for activations as they are."""
        settings = self.member.settings
        inner = self._space.gradient(by_projection, by_bias)
        gradient = np.vstack([inner.projection, inner.bias])
        gradient *= min(1.0, settings.max_gradient_norm / max(float(np.linalg.norm(gradient)), 1e-12))
        share = 0.5 * (1 + float(np.cos(np.pi * self.epoch / settings.epochs)))  # a cosine, one value per epoch
        rate = settings.final_learning_rate + (settings.learning_rate - settings.final_learning_rate) * share
        self._steps += 1
        self._first += (1 - _BETA1) * (gradient - self._first)
        self._second += (1 - _BETA2) * (gradient**2 - self._second)
        first = self._first / (1 - _BETA1**self._steps)
        second = self._second / (1 - _BETA2**self._steps)
        self._weights *= 1 - rate * settings.weight_decay
        self._weights -= rate * first / (np.sqrt(second) + _EPSILON)

    def consider(self, auroc: float) -> None:
        """Copy the weights if they are better than all before."""
        if self._best is None or auroc > self._best[0]:
            self._best = auroc, self.epoch, self.linear

    def result(self) -> Trained:
        """The best weights; the last ones if there was nothing to judge them by."""
        _, epoch, linear = self._best or (0.0, self.epoch, self.linear)
        return Trained(linear, epoch, tuple(self.history))


def descend(
    members: Sequence[Member], space: Space, train: Split, validation: Split | None, generator: np.random.Generator
) -> list[Trained]:
    """Minimise each member's mean binary cross-entropy, all reading the same batches.

    Every batch is one step, smaller last ones too. With a validation split, the result is the epoch with the best AUROC
    on it, the start included; without one, the last epoch.
    """
    runs = [_Run(member, space) for member in members]
    with threadpool_limits(1, user_api="blas"):  # thin products: two threads wait for memory, or for a busy core
        for run, found in zip(runs, _check(runs, validation) if validation else (), strict=False):
            run.consider(found["validation_auroc"])
        while active := [run for run in runs if not run.finished]:
            losses = np.zeros(len(active))
            for batch in train.pools.epoch(generator):
                losses += _step(active, batch, train.labels[batch.records])
            checks = _check(active, validation) if validation else [{} for _ in active]
            for run, loss, found in zip(active, losses / len(train.labels), checks, strict=True):
                run.epoch += 1
                run.history.append({"train_loss": float(loss), **found})
                if found:
                    run.consider(found["validation_auroc"])
    return [run.result() for run in runs]


def _project(runs: Sequence[_Run], batch: Batch) -> list[Float[np.ndarray, "tokens columns"]]:
    """Every member's projections, from one reading of the batch."""
    linears = [run.linear for run in runs]
    together = np.hstack([linear.projection for linear in linears]).astype(np.float32)
    projections = _thin_product(batch.values, together).astype(np.float64)
    parts = np.split(projections, np.cumsum([len(linear.bias) for linear in linears])[:-1], axis=1)
    return [part + linear.bias for part, linear in zip(parts, linears, strict=True)]


def _thin_product(
    values: Float32[np.ndarray, "tokens hidden"], weights: Float32[np.ndarray, "hidden columns"]
) -> Float32[np.ndarray, "tokens columns"]:
    """`values @ weights`, in pieces so small that BLAS multiplies them as they are.

    Packing a tall matrix, as it does for larger products, costs as much as multiplying it by a few columns.
    """
    product = np.empty((len(values), weights.shape[1]), dtype=np.float32)
    rows = max(16, _SMALL_PRODUCT // weights.size)
    for start in range(0, len(values), rows):
        np.matmul(values[start : start + rows], weights, out=product[start : start + rows])
    return product


def weighted_sums(
    weights: Float[np.ndarray, "tokens columns"], values: Float32[np.ndarray, "tokens hidden"]
) -> Float[np.ndarray, "columns hidden"]:
    """`weights.T @ values`: for few columns one at a time, on tokens that the cache still holds for the next."""
    rows = np.ascontiguousarray(weights.T, dtype=np.float32)
    if len(rows) > _FEW_COLUMNS:
        return (rows @ values).astype(np.float64)
    sums = np.zeros((len(rows), values.shape[1]))
    for start in range(0, len(values), _CACHED_TOKENS):
        piece = slice(start, start + _CACHED_TOKENS)
        for total, row in zip(sums, rows, strict=True):
            total += row[piece] @ values[piece]
    return sums


def _step(runs: Sequence[_Run], batch: Batch, labels: Bool[np.ndarray, "records"]) -> Float[np.ndarray, "members"]:
    """One step of each member; returns the sums of their losses over the batch's records."""
    by_projections, losses = [], []
    for run, projections in zip(runs, _project(runs, batch), strict=True):
        pooled = run.member.family.pool(projections, batch.segments, run.member.config)
        losses.append(cross_entropy(pooled.logits, labels).sum())
        by_logit = (sigmoid(pooled.logits) - labels) / len(labels)
        by_projections.append(batch.segments.spread(by_logit)[:, None] * pooled.gradient)
    gradients = weighted_sums(np.hstack(by_projections), batch.values).T
    parts = np.split(gradients, np.cumsum([part.shape[1] for part in by_projections])[:-1], axis=1)
    for run, gradient, by_projection in zip(runs, parts, by_projections, strict=True):
        run.step(gradient, by_projection.sum(axis=0))
    return np.array(losses)


def _check(runs: Sequence[_Run], split: Split) -> list[dict[str, float]]:
    """Each member's loss and AUROC on a split."""
    from models_under_pressure.evaluation.metrics import auroc

    logits, labels = np.empty((len(runs), len(split.labels))), split.labels
    for batch in split.pools.epoch(None):
        for row, run, projections in zip(logits, runs, _project(runs, batch), strict=True):
            row[batch.records] = run.member.family.pool(projections, batch.segments, run.member.config).logits
    losses = [float(cross_entropy(row, labels).mean()) for row in logits]
    return [
        {"validation_loss": loss, "validation_auroc": auroc(row, labels)}
        for loss, row in zip(losses, logits, strict=True)
    ]


def cross_entropy(
    logits: Float[np.ndarray, "records"], labels: Bool[np.ndarray, "records"]
) -> Float[np.ndarray, "records"]:
    """Negative log-likelihood of each label, in nats."""
    return np.logaddexp(0.0, logits) - labels * logits
