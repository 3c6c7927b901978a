"""AdamW on several probes at once, by autograd; all read the same batches, and share one product with the tokens."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from models_under_pressure.evaluation.metrics import auroc
from models_under_pressure.probes.batches import Batch, Pools, Space
from models_under_pressure.probes.calibration import cross_entropy
from models_under_pressure.probes.family import Descent, DescentConfig, Family, FamilyConfig, Weights
from models_under_pressure.probes.module import ProbeModule, project


@dataclass(frozen=True, eq=False)
class Member:
    """One probe to be trained."""

    family: Family[Any]
    config: FamilyConfig
    """Hyper-parameters of the pooling."""
    settings: DescentConfig
    """Hyper-parameters of the descent: often `config` itself."""
    start: Weights
    """First weights, in the space of the training."""


@dataclass(frozen=True, eq=False)
class Split:
    """Batches of records, and the label of each record."""

    pools: Pools
    labels: Bool[np.ndarray, "records"]
    weights: Float[np.ndarray, "records"] | None = None
    """How much each record counts in the loss; None: all alike."""


@dataclass(frozen=True, eq=False)
class Trained:
    """The best epoch's weights."""

    weights: Weights
    """For activations as they are."""
    epoch: int
    """Passes over the data that the weights have seen; 0 is the start."""
    history: tuple[dict[str, float], ...]
    """Per epoch: training loss, validation loss and AUROC."""


@dataclass(eq=False)
class _Run:
    """A member in training: its module, its optimiser, and a copy of the best weights."""

    member: Member
    module: ProbeModule
    optimiser: Any
    best: tuple[float, int, Weights] | None = None
    epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list[dict[str, float]])

    @property
    def finished(self) -> bool:
        """Whether the epochs are used up, or the patience."""
        settings = self.member.settings
        best_epoch = self.best[1] if self.best else self.epoch
        return self.epoch >= settings.epochs or self.epoch - best_epoch >= settings.patience

    def set_rate(self) -> None:
        """The learning rate of this epoch, along a cosine."""
        settings = self.member.settings
        share = 0.5 * (1 + float(np.cos(np.pi * self.epoch / settings.epochs)))
        rate = settings.final_learning_rate + (settings.learning_rate - settings.final_learning_rate) * share
        self.optimiser.param_groups[0]["lr"] = rate

    def losses(self, projections: Tensor, batch: Batch, labels: Tensor) -> Float[Tensor, "records"]:
        """Loss of each record."""
        fitting, config = self.member.family.fitting, self.member.config
        if isinstance(fitting, Descent) and fitting.loss is not None:
            return fitting.loss(self.module.transform(projections), batch.segments, labels, config)
        logits = self.module.pool(projections, batch.segments).logits
        return binary_cross_entropy_with_logits(logits, labels, reduction="none")

    def step(self) -> None:
        """One AdamW step (Loshchilov and Hutter 2019) with the gradient shortened."""
        torch.nn.utils.clip_grad_norm_(self.module.parameters(), self.member.settings.max_gradient_norm)
        self.optimiser.step()
        self.optimiser.zero_grad()

    def consider(self, found: dict[str, float]) -> None:
        """Copy the weights if they are better than all before."""
        if found and (self.best is None or found["validation_auroc"] > self.best[0]):
            self.best = found["validation_auroc"], self.epoch, self.module.weights()

    def result(self) -> Trained:
        """The best weights; the last ones if there was nothing to judge them by."""
        _, epoch, weights = self.best or (0.0, self.epoch, self.module.weights())
        return Trained(weights, epoch, tuple(self.history))


def descend(
    members: Sequence[Member],
    space: Space,
    train: Split,
    validation: Split | None,
    generator: np.random.Generator,
    device: torch.device | None = None,
) -> list[Trained]:
    """Minimise each member's mean loss, all reading the same batches.

    Every batch is one step, smaller last ones too. With a validation split, the result is the epoch with the best AUROC
    on it, the start included; without one, the last epoch.

    On the CPU the weights depend on nothing but data, members and generator. On CUDA they are repeatable as far as
    torch can: its deterministic kernels are asked for, and matrix products are so only where the environment variable
    CUBLAS_WORKSPACE_CONFIG is :4096:8; another GPU model may round differently.
    """
    device = device or torch.device("cpu")
    runs = [_start(member, space, device) for member in members]
    with _repeatable(device):
        for run, found in zip(runs, _check(runs, validation), strict=True):
            run.consider(found)
        while active := [run for run in runs if not run.finished]:
            for run in active:
                run.set_rate()
            sums: Any = sum(_step(active, batch, train) for batch in train.pools.epoch(generator))
            losses: list[float] = (sums / len(train.labels)).tolist()
            for run, loss, found in zip(active, losses, _check(active, validation), strict=True):
                run.epoch += 1
                run.history.append({"train_loss": loss, **found})
                run.consider(found)
    return [run.result() for run in runs]


def _start(member: Member, space: Space, device: torch.device) -> _Run:
    module = ProbeModule(member.family, member.config, member.start, space).to(device)
    optimiser = torch.optim.AdamW(module.parameters(), weight_decay=member.settings.weight_decay, fused=True)
    return _Run(member, module, optimiser)


@contextmanager
def _repeatable(device: torch.device) -> Generator[None]:
    """One thread: their number decides how a product sums; and thin products wait for memory, not for cores."""
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    warns_only = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.set_num_threads(1)
    if device.type != "cpu":
        torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(strict, warn_only=warns_only)


def _step(runs: Sequence[_Run], batch: Batch, train: Split) -> Float[Tensor, "members"]:
    """One step of each member; returns the sums of their losses over the batch's records."""
    labels = torch.as_tensor(train.labels[batch.records], dtype=torch.float64, device=batch.values.device)
    losses = [
        run.losses(projections, batch, labels)
        for run, projections in zip(runs, project([run.module for run in runs], batch.values), strict=True)
    ]
    if train.weights is not None:
        weights = torch.as_tensor(train.weights[batch.records], device=labels.device)
        losses = [loss * weights for loss in losses]
    sums: Any = torch.stack([loss.sum() for loss in losses])
    (sums.sum() / len(labels)).backward()
    for run in runs:
        run.step()
    return sums.detach()


@torch.no_grad()
def _check(runs: Sequence[_Run], split: Split | None) -> list[dict[str, float]]:
    """Each member's loss and AUROC on a split; nothing without one."""
    if split is None:
        return [{} for _ in runs]
    logits = np.empty((len(runs), len(split.labels)))
    for batch in split.pools.epoch(None):
        found = project([run.module for run in runs], batch.values)
        for row, run, projections in zip(logits, runs, found, strict=True):
            row[batch.records] = run.module.pool(projections, batch.segments).logits.cpu().numpy()
    return [
        {
            "validation_loss": float(cross_entropy(row, split.labels).mean()),
            "validation_auroc": auroc(row, split.labels),
        }
        for row in logits
    ]
