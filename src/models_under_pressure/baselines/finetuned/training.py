"""Training a classifier: a plain loop, because a run must be able to stop at any step and go on to the same bits.

Every draw is seeded by its place (the order of an epoch by its number, dropout by the number of the step), so a
checkpoint needs no generator's state.
"""

import math
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from models_under_pressure.activations.batches import plan_batches
from models_under_pressure.baselines.finetuned.checkpoint import Checkpoint, Checkpoints, restore_state, state_of
from models_under_pressure.baselines.finetuned.classifier import Classifier, fit_head, seeded
from models_under_pressure.baselines.finetuned.config import FinetuneConfig
from models_under_pressure.baselines.finetuned.reading import (
    Reader,
    Split,
    freeze_states,
    pooled_states,
    reading,
    score,
)
from models_under_pressure.core.display import Progress, progress
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import stable_uniform
from models_under_pressure.evaluation.metrics import auroc

if TYPE_CHECKING:
    import torch
    from torch import nn


Watch = Callable[[int, Mapping[str, float]], None]
"""Told the number of each epoch and its losses and AUROC."""


@dataclass(frozen=True)
class Epoch:
    """Losses and AUROC of one pass over the training records."""

    number: int
    """Number of the pass, from 1."""
    train_loss: float
    """Mean cross-entropy while training, nats per record."""
    validation_loss: float
    validation_auroc: float

    @property
    def merit(self) -> tuple[float, float]:
        """Larger is better: AUROC, among equals (AUROC 1 is common on synthetic text) the smaller loss."""
        return self.validation_auroc, -self.validation_loss


@dataclass
class Position:
    """Place of a run in its training; with the weights and the optimiser all that it needs to go on."""

    epoch: int = 0
    """Finished epochs."""
    step: int = 0
    """Optimiser steps in the present epoch."""
    steps: int = 0
    """Optimiser steps in all epochs."""
    loss: float = 0.0
    """Sum over the records read in the present epoch."""
    seconds: float = 0.0
    """Wall time, of interrupted parts too."""
    history: list[Epoch] = field(default_factory=list[Epoch])

    @property
    def best(self) -> Epoch:
        """The best finished epoch; the earliest of equals."""
        return max(self.history, key=lambda epoch: epoch.merit)


def train(
    classifier: Classifier,
    data: Split,
    validation: Split,
    *,
    config: FinetuneConfig,
    seed: int,
    checkpoints: Checkpoints | None = None,
    watch: Watch | None = None,
) -> Position:
    """Minimise the mean cross-entropy; afterwards the classifier has the weights of the best validation AUROC.

    Each step is the gradient of the mean loss over its records, however many passes it takes; the last step of an
    epoch may have fewer. On a CPU a run that was interrupted and goes on ends with the same bits as one that was not;
    on a GPU sums may be taken in another order.

    Args:
        classifier: its weights are changed in place; its frozen states, if it has any, are those of all these records.
        data: to fit.
        validation: to choose the epoch, and to stop early.
        config: hyper-parameters.
        seed: of the order of records and of dropout.
        checkpoints: where to go on from and to leave checkpoints; None keeps nothing.
        watch: told every epoch when it ends; those of an interrupted run once more when it goes on.

    Raises:
        UserError: a split is empty, validation lacks a class, or the loss or a gradient is not finite.
    """
    _check_splits(data, validation)
    run = _Run(classifier, data, validation, config, seed, checkpoints)
    run.begin()
    steps = config.epochs * -(-len(data.records) // config.batch_size)
    with seeded(seed), progress(steps, what="finetune", unit="steps") as shown:
        shown.advance(run.position.steps)
        for epoch in run.position.history:
            _tell(watch, epoch)
        while not run.finished:
            _tell(watch, run.next_epoch(shown))
    classifier.put(run.best_weights)
    return run.position


@dataclass
class _Run:
    """A classifier in training, its optimiser, and a copy of the best weights."""

    classifier: Classifier
    data: Split
    validation: Split
    config: FinetuneConfig
    seed: int
    checkpoints: Checkpoints | None
    counted: float = field(default_factory=time.monotonic)
    """Moment up to which the time is counted."""
    position: Position = field(default_factory=Position)
    best_weights: "Mapping[str, torch.Tensor]" = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        if self.config.keep_states and self.classifier.frozen is None:
            records = [*self.data.records, *self.validation.records]
            frozen = freeze_states(self.classifier, records, batch_tokens=self.config.batch_tokens)
            self.classifier = replace(self.classifier, frozen=frozen)
        self.saved = time.monotonic()
        self.lengths, self.weights = self.data.lengths, self.classifier.trained
        self.optimiser = make_optimiser(self.weights, self.config)

    @property
    def finished(self) -> bool:
        """Whether the epochs are used up, or the patience."""
        waited = self.position.epoch - self.position.best.number if self.position.history else 0
        return self.position.epoch >= self.config.epochs or waited >= self.config.patience

    def next_epoch(self, shown: Progress) -> Epoch:
        """Do the steps of the present epoch that are still to do, and judge the weights."""
        order = np.random.default_rng([self.seed, self.position.epoch]).permutation(len(self.lengths))
        starts = range(0, len(order), self.config.batch_size)
        with reading(self.classifier) as reader, _threads(self.config.threads):
            self.classifier.train()
            for start in starts[self.position.step :]:
                self.step(reader, order[start : start + self.config.batch_size])
                shown.advance(1, epoch=self.position.epoch + 1)
                if time.monotonic() - self.saved >= 60 * self.config.checkpoint_minutes:
                    self.save()
        return self._judge()

    def step(self, reader: Reader, batch: np.ndarray) -> None:
        """One optimiser step on the mean loss of a batch, in as many passes as its tokens need."""
        import torch
        from torch.nn.functional import cross_entropy

        library: Any = torch
        library.manual_seed(int(stable_uniform("dropout", self.seed, self.position.steps) * 2**53))
        total = 0.0
        self.optimiser.zero_grad(set_to_none=True)
        budget = self.config.batch_tokens
        for part in plan_batches(self.lengths[batch], budget=budget, packing=self.classifier.packs):
            rows: list[int] = batch[part].tolist()
            logits = reader.logits([self.data.records[row].token_ids for row in rows])
            labels = torch.tensor(self.data.labels[rows], dtype=torch.int64, device=logits.device)
            loss: Any = cross_entropy(logits, labels, reduction="sum")
            (loss / len(batch)).backward()
            total += float(loss.detach())
        norm = torch.nn.utils.clip_grad_norm_(list(self.weights.values()), self.config.max_gradient_norm)
        if not math.isfinite(total) or not math.isfinite(float(norm)):
            raise UserError(
                f"the loss or a gradient is not finite in epoch {self.position.epoch + 1}, step "
                f"{self.position.step + 1}.",
                where=self.classifier.loaded.name,
                remedy="lower `learning_rate`, or set `precision: float32`.",
            )
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.config, self.position.epoch)
        self.optimiser.step()
        self.position.step += 1
        self.position.steps += 1
        self.position.loss += total

    def _judge(self) -> Epoch:
        """End the epoch: measure the weights, and copy them if they are better than all before."""
        validation = self.validation
        logits = score(self.classifier, validation.records, batch_tokens=self.config.batch_tokens)
        position = self.position
        epoch = Epoch(
            number=position.epoch + 1,
            train_loss=position.loss / len(self.lengths),
            validation_loss=float((np.logaddexp(0.0, logits) - validation.labels * logits).mean()),
            validation_auroc=auroc(logits, validation.labels),
        )
        position.history.append(epoch)
        position.epoch, position.step, position.loss = epoch.number, 0, 0.0
        if position.best is epoch:
            self.best_weights = self.classifier.copies()
        self.save()
        return epoch

    def save(self) -> None:
        """Count the time, and leave a checkpoint, which takes some of its own."""
        self.position.seconds += time.monotonic() - self.counted
        if self.checkpoints:
            tensors, numbers = state_of(self.optimiser, self.weights)
            state = {"position": asdict(self.position), "optimiser": numbers}
            self.checkpoints.save(Checkpoint(state, self.classifier.copies(), tensors, self.best_weights))
        self.counted = self.saved = time.monotonic()

    def begin(self) -> None:
        """Go on from the latest checkpoint, or from a fresh head."""
        found = self.checkpoints.load() if self.checkpoints else None
        if found is None:
            if self.config.head == "fitted":
                pooled = pooled_states(self.classifier, self.data.records, batch_tokens=self.config.batch_tokens)
                fit_head(self.classifier, pooled, self.data.labels)
            return
        history = [Epoch(**epoch) for epoch in found.state["position"]["history"]]
        self.position = Position(**found.state["position"] | {"history": history})
        self.classifier.put(found.weights)
        restore_state(self.optimiser, self.weights, found.optimiser, found.state["optimiser"])
        self.best_weights = found.best


def make_optimiser(weights: "Mapping[str, nn.Parameter]", config: FinetuneConfig) -> "torch.optim.Optimizer":
    """AdamW (Loshchilov and Hutter 2019), its moments in float32 or 8 bits."""
    settings: dict[str, Any] = {"lr": config.learning_rate, "weight_decay": config.weight_decay}
    if config.optimiser == "adamw8bit":
        from bitsandbytes.optim import adamw

        make: Any = adamw.AdamW8bit
        return make(list(weights.values()), **settings)
    import torch

    return torch.optim.AdamW(list(weights.values()), **settings)


def learning_rate(config: FinetuneConfig, epoch: int) -> float:
    """The rate of an epoch, counted from 0: a step down every `decay_every` epochs."""
    return config.learning_rate * config.decay ** (epoch // config.decay_every)


def _tell(watch: Watch | None, epoch: Epoch) -> None:
    if watch:
        values = asdict(epoch)
        watch(values.pop("number"), values)


@contextmanager
def _threads(count: int | None) -> Generator[None]:
    """Let so many cores share a product."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _check_splits(data: Split, validation: Split) -> None:
    for name, split in {"training": data, "validation": validation}.items():
        if len(set(split.labels.tolist())) < 2:
            problem = f"the {name} records are of fewer than two classes ({len(split.labels)} records)."
            raise UserError(problem, remedy="use a dataset of both.")
