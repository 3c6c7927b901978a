"""The training loop of the paper's released code, re-written from its description, as a reference for time and AUROC.

A whole set in memory as float16, padded to its longest record and masked once; records become float32 (its type on a
CPU) one by one in the DataLoader, which shuffles them into batches of 16; AdamW with the loss divided by 4 and a step
after every fourth batch (leftovers of an epoch are dropped), gradients clipped after every batch, a cosine schedule
over 200 epochs, validation AUROC after every epoch, and the weights of the last epoch whatever the best was. Left out,
to its advantage: logging to Weights & Biases and progress bars.

`Padded` is that, for its time. `Flat` gives the loop the same batches without padding, in a tenth of the time, for the
weights: they are the same up to rounding, because padding is masked.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from models_under_pressure.evaluation.metrics import auroc
from models_under_pressure.probes.data import TrainingData

BATCH, ACCUMULATION, EPOCHS, RATE, DECAY = 16, 4, 200, 5e-3, 1e-3
FINAL_RATE = {"attention": 5e-4, "softmax": 1e-4, "mean": 1e-4}
PATIENCE = {"attention": 50, "softmax": 10, "mean": 50}

Batch: TypeAlias = tuple[Callable[["Model"], torch.Tensor], torch.Tensor]
"""How to get the logits of some records from a model, and their labels."""


class Padded(Dataset):
    """A whole dataset, padded to its longest record."""

    def __init__(self, data: TrainingData) -> None:
        bounds, self.hidden = _bounds(data), data.activations.hidden
        longest = max(end - begin for begin, end in bounds)
        self.values = torch.zeros(len(bounds), longest, self.hidden, dtype=torch.float16)
        self.mask = torch.zeros(len(bounds), longest, dtype=torch.bool)
        for row, (begin, end) in enumerate(bounds):
            self.values[row, : end - begin] = torch.from_numpy(data.activations.read(begin, end)).half()
            self.mask[row, : end - begin] = True
        self.token_ids = torch.zeros(len(bounds), longest, dtype=torch.long)
        self.labels = torch.from_numpy(data.labels.astype(np.float32))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, ...]:
        return self.values[row].float(), self.mask[row], self.token_ids[row].float(), self.labels[row]

    def batches(self, *, shuffle: bool) -> Iterator[Batch]:
        """Batches of 16 records."""
        for values, mask, _ids, labels in DataLoader(self, batch_size=BATCH, shuffle=shuffle):
            yield (lambda model, values=values, mask=mask: model(values, mask)), labels


class Flat:
    """A whole dataset without padding: the same batches in the same order from the same seed."""

    def __init__(self, data: TrainingData) -> None:
        self._bounds, self.hidden = _bounds(data), data.activations.hidden
        self._values = torch.from_numpy(data.activations.read(0, self._bounds[-1][1])).half().float()
        self.labels = torch.from_numpy(data.labels.astype(np.float32))

    def batches(self, *, shuffle: bool) -> Iterator[Batch]:
        """Batches of 16 records."""
        rows_of = DataLoader(range(len(self.labels)), batch_size=BATCH, shuffle=shuffle)  # type: ignore[arg-type]
        for rows in rows_of:
            bounds = [self._bounds[row] for row in rows]
            values = torch.cat([self._values[begin:end] for begin, end in bounds])
            lengths = torch.tensor([end - begin for begin, end in bounds])
            mask = torch.arange(int(lengths.max()))[None] < lengths[:, None]
            yield (lambda model, values=values, mask=mask: model.flat(values, mask)), self.labels[rows]


def _bounds(data: TrainingData) -> list[tuple[int, int]]:
    offsets = data.activations.offsets.tolist()
    return list(pairwise(offsets))


class Attention(nn.Module):
    """Softmax-weighted mean, with a scaled query."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.query, self.value, self.scale = nn.Linear(hidden, 1), nn.Linear(hidden, 1), hidden**0.5

    def forward(self, values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Logit of each record."""
        scores = (self.query(values).squeeze(-1) / self.scale).masked_fill(~mask, float("-inf"))
        return self.value(torch.einsum("bsd,bs->bd", values, scores.softmax(-1))).squeeze(-1)

    def flat(self, values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The same of records one after the other: the mean of values is the value of the mean."""
        scores = _padded(self.query(values), mask, float("-inf")) / self.scale
        return (_padded(self.value(values), mask, 0.0) * scores.softmax(-1)).sum(1)


class LinearThen(nn.Module):
    """A logit per token, then the mean, or the softmax-weighted mean at temperature 5."""

    def __init__(self, hidden: int, kind: str) -> None:
        super().__init__()
        self.linear, self.kind = nn.Linear(hidden, 1), kind

    def forward(self, values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Logit of each record."""
        return self._pooled(self.linear(values).squeeze(-1).masked_fill(~mask, 0), mask)

    def flat(self, values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The same of records one after the other."""
        return self._pooled(_padded(self.linear(values), mask, 0.0), mask)

    def _pooled(self, logits: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        if self.kind == "mean":
            return logits.sum(1) / mask.sum(1).clamp(min=1)
        return (logits * (logits / 5).masked_fill(~mask, float("-inf")).softmax(-1)).sum(1)


Model: TypeAlias = Attention | LinearThen


def _padded(column: torch.Tensor, mask: torch.Tensor, fill: float) -> torch.Tensor:
    return torch.full(mask.shape, fill).masked_scatter(mask, column.squeeze(-1))


@dataclass(frozen=True)
class Epoch:
    """What was known after an epoch."""

    cpu: float
    """Seconds of all cores since the start."""
    validation_loss: float
    validation_auroc: float


def train(
    kind: str, train: Padded | Flat, validation: Padded | Flat, seed: int, most: int = EPOCHS
) -> tuple[Model, list[Epoch]]:
    """Train a probe; `most` cuts the run short (the schedule stays that of 200 epochs)."""
    torch.manual_seed(seed)
    model: Model = Attention(train.hidden) if kind == "attention" else LinearThen(train.hidden, kind)
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=EPOCHS, eta_min=FINAL_RATE[kind])
    cpu = time.process_time()
    best, stale, history = -1.0, 0, []
    for _ in range(most):
        for number, (logits_of, labels) in enumerate(train.batches(shuffle=True), 1):
            loss = nn.functional.binary_cross_entropy_with_logits(logits_of(model), labels) / ACCUMULATION
            loss.backward()
            assert not loss.isnan().any()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            if number % ACCUMULATION == 0:
                optimiser.step()
                optimiser.zero_grad()
        optimiser.zero_grad()
        schedule.step()
        logits, labels = score(model, validation), validation.labels.numpy()
        loss = float(np.mean(np.logaddexp(0, logits) - labels * logits))
        found = auroc(logits, labels > 0)
        history.append(Epoch(time.process_time() - cpu, loss, found))
        stale = 0 if found > best else stale + 1
        best = max(best, found)
        if stale >= PATIENCE[kind]:
            break
    return model, history


def score(model: Model, data: Padded | Flat) -> np.ndarray:
    """Logit of each record."""
    with torch.no_grad():
        parts = [logits_of(model) for logits_of, _ in data.batches(shuffle=False)]
    return torch.cat(parts).numpy().astype(np.float64)
