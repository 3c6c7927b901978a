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
    def best(self) -> Epoch | None:
        """The best epoch so far; the earliest of equals."""
        return max(self.history, key=lambda epoch: epoch.merit, default=None)


@dataclass(frozen=True)
class Trained:
    """How a run went; its weights are in the classifier."""

    best: Epoch
    """The epoch whose weights were kept."""
    history: tuple[Epoch, ...]
    seconds: float


def train(
    classifier: Classifier,
    data: Split,
    validation: Split,
    *,
    config: FinetuneConfig,
    seed: int,
    checkpoints: Checkpoints | None = None,
    watch: Watch | None = None,
) -> Trained:
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
    begun = time.monotonic()
    if config.keep_states and classifier.frozen is None:
        records = [*data.records, *validation.records]
        classifier = replace(classifier, frozen=freeze_states(classifier, records, batch_tokens=config.batch_tokens))
    run = _Run(classifier, data, config, seed, begun=begun, checkpoints=checkpoints)
    if checkpoints and (found := checkpoints.load()):
        run.restore(found)
    elif config.head == "fitted":
        fit_head(classifier, pooled_states(classifier, data.records, batch_tokens=config.batch_tokens), data.labels)
    for epoch in run.position.history:
        _tell(watch, epoch)
    with seeded(seed), progress(run.total_steps, what="finetune", unit="steps") as shown:
        shown.advance(run.position.steps)
        while not run.finished:
            run.fit_epoch(shown)
            _tell(watch, run.finish_epoch(validation))
    return run.result()


class _Run:
    """A classifier in training, its optimiser, and a copy of the best weights."""

    def __init__(
        self,
        classifier: Classifier,
        data: Split,
        config: FinetuneConfig,
        seed: int,
        *,
        begun: float,
        checkpoints: Checkpoints | None,
    ) -> None:
        self._checkpoints, self._counted, self._saved = checkpoints, begun, time.monotonic()
        self._classifier, self._data, self._config, self._seed = classifier, data, config, seed
        self._lengths = data.lengths
        self._weights = classifier.trained
        self._optimiser = make_optimiser(self._weights, config)
        self._best: dict[str, torch.Tensor] = {}
        self.position = Position()

    @property
    def total_steps(self) -> int:
        """Optimiser steps if no epoch is spared."""
        return self._config.epochs * -(-len(self._lengths) // self._config.batch_size)

    @property
    def finished(self) -> bool:
        """Whether the epochs are used up, or the patience."""
        best = self.position.best
        waited = self.position.epoch - best.number if best else 0
        return self.position.epoch >= self._config.epochs or waited >= self._config.patience

    def fit_epoch(self, shown: Progress) -> None:
        """Do the steps of the present epoch that are still to do."""
        order = np.random.default_rng([self._seed, self.position.epoch]).permutation(len(self._lengths))
        starts = range(0, len(order), self._config.batch_size)
        with reading(self._classifier) as reader, _threads(self._config.threads):
            self._classifier.train()
            for start in starts[self.position.step :]:
                self.step(reader, order[start : start + self._config.batch_size])
                shown.advance(1, epoch=self.position.epoch + 1)
                if time.monotonic() - self._saved >= 60 * self._config.checkpoint_minutes:
                    self.save()

    def step(self, reader: Reader, batch: np.ndarray) -> None:
        """One optimiser step on the mean loss of a batch, in as many passes as its tokens need."""
        import torch
        from torch.nn.functional import cross_entropy

        library: Any = torch
        library.manual_seed(int(stable_uniform("dropout", self._seed, self.position.steps) * 2**53))
        total = 0.0
        self._optimiser.zero_grad(set_to_none=True)
        budget = self._config.batch_tokens
        for part in plan_batches(self._lengths[batch], budget=budget, packing=self._classifier.packs):
            rows: list[int] = batch[part].tolist()
            logits = reader.logits([self._data.records[row].token_ids for row in rows])
            labels = torch.tensor(self._data.labels[rows], dtype=torch.int64, device=logits.device)
            loss: Any = cross_entropy(logits, labels, reduction="sum")
            (loss / len(batch)).backward()
            total += float(loss.detach())
        norm = torch.nn.utils.clip_grad_norm_(list(self._weights.values()), self._config.max_gradient_norm)
        if not math.isfinite(total) or not math.isfinite(float(norm)):
            raise UserError(
                f"the loss or a gradient is not finite in epoch {self.position.epoch + 1}, step "
                f"{self.position.step + 1}.",
                where=self._classifier.loaded.name,
                remedy="lower `learning_rate`, or set `precision: float32`.",
            )
        for group in self._optimiser.param_groups:
            group["lr"] = learning_rate(self._config, self.position.epoch)
        self._optimiser.step()
        self.position.step += 1
        self.position.steps += 1
        self.position.loss += total

    def finish_epoch(self, validation: Split) -> Epoch:
        """Judge the weights, and copy them if they are better than all before."""
        logits = score(self._classifier, validation.records, batch_tokens=self._config.batch_tokens)
        position = self.position
        epoch = Epoch(
            number=position.epoch + 1,
            train_loss=position.loss / len(self._lengths),
            validation_loss=float((np.logaddexp(0.0, logits) - validation.labels * logits).mean()),
            validation_auroc=auroc(logits, validation.labels),
        )
        position.history.append(epoch)
        position.epoch, position.step, position.loss = epoch.number, 0, 0.0
        if position.best is epoch:
            self._best = self._classifier.copies()
        self.save()
        return epoch

    def result(self) -> Trained:
        """Put the best weights into the classifier."""
        best = self.position.best
        assert best is not None
        self._classifier.put(self._best)
        return Trained(best, tuple(self.position.history), self.position.seconds)

    def save(self) -> None:
        """Count the time, and leave a checkpoint, which takes some of its own."""
        self.position.seconds += time.monotonic() - self._counted
        if self._checkpoints:
            tensors, numbers = state_of(self._optimiser, self._weights)
            state = {"position": asdict(self.position), "optimiser": numbers}
            self._checkpoints.save(Checkpoint(state, self._classifier.copies(), tensors, self._best))
        self._counted = self._saved = time.monotonic()

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint."""
        self.position = Position(**checkpoint.state["position"])
        self.position.history = [Epoch(**epoch) for epoch in checkpoint.state["position"]["history"]]
        self._classifier.put(checkpoint.weights)
        restore_state(self._optimiser, self._weights, checkpoint.optimiser, checkpoint.state["optimiser"])
        self._best = dict(checkpoint.best)


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
            raise UserError(
                f"the {name} records are of fewer than two classes ({len(split.labels)} records).",
                remedy="use a dataset of both.",
            )
