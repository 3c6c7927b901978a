"""The training loop of the paper's released code, re-written from its description, as a reference for time and AUROC.

Padded float16 activations in memory, a shuffled DataLoader of batches of 16, AdamW with the loss divided by 4 and a
step after every fourth batch (leftovers of an epoch are dropped), gradients clipped after every batch, a cosine
schedule over 200 epochs, validation AUROC after every epoch, and the weights of the last epoch whatever the best was.
"""

import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from models_under_pressure.evaluation.metrics import auroc
from models_under_pressure.probes.data import TrainingData

BATCH, ACCUMULATION, EPOCHS, RATE, DECAY = 16, 4, 200, 5e-3, 1e-3
FINAL_RATE = {"attention": 5e-4, "softmax": 1e-4, "mean": 1e-4}
PATIENCE = {"attention": 50, "softmax": 10, "mean": 50}


class Padded(Dataset):
    """A whole dataset, padded to its longest record."""

    def __init__(self, data: TrainingData) -> None:
        activations = data.activations
        bounds = list(zip(activations.offsets.tolist(), activations.offsets[1:].tolist(), strict=False))
        longest = max(end - begin for begin, end in bounds)
        self.values = torch.zeros(len(bounds), longest, activations.hidden, dtype=torch.float16)
        self.mask = torch.zeros(len(bounds), longest, dtype=torch.bool)
        for row, (begin, end) in enumerate(bounds):
            self.values[row, : end - begin] = torch.from_numpy(activations.read(begin, end)).half()
            self.mask[row, : end - begin] = True
        self.token_ids = torch.zeros(len(bounds), longest, dtype=torch.long)
        self.labels = torch.from_numpy(data.labels.astype(np.float32))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, ...]:
        return self.values[row], self.mask[row], self.token_ids[row], self.labels[row]


class Attention(nn.Module):
    """Softmax-weighted mean, with a scaled query."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.query, self.value, self.scale = nn.Linear(hidden, 1), nn.Linear(hidden, 1), hidden**0.5

    def forward(self, values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Logit of each record."""
        scores = (self.query(values).squeeze(-1) / self.scale).masked_fill(~mask, float("-inf"))
        return self.value(torch.einsum("bsd,bs->bd", values, scores.softmax(-1))).squeeze(-1)


class LinearThen(nn.Module):
    """A logit per token, then the mean, or the softmax-weighted mean at temperature 5."""

    def __init__(self, hidden: int, kind: str) -> None:
        super().__init__()
        self.linear, self.kind = nn.Linear(hidden, 1), kind

    def forward(self, values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Logit of each record."""
        logits = self.linear(values).squeeze(-1).masked_fill(~mask, 0)
        if self.kind == "mean":
            return logits.sum(1) / mask.sum(1).clamp(min=1)
        return (logits * (logits / 5).masked_fill(~mask, float("-inf")).softmax(-1)).sum(1)


@dataclass(frozen=True)
class Epoch:
    """What was known after an epoch."""

    cpu: float
    """Seconds of all cores since the start."""
    wall: float
    validation_loss: float
    validation_auroc: float


def train(kind: str, train: Padded, validation: Padded, seed: int, most: int = EPOCHS) -> tuple[nn.Module, list[Epoch]]:
    """Train a probe; `most` cuts the run short (the schedule stays that of 200 epochs)."""
    torch.manual_seed(seed)
    hidden = train.values.shape[2]
    model = Attention(hidden) if kind == "attention" else LinearThen(hidden, kind)
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=EPOCHS, eta_min=FINAL_RATE[kind])
    best, stale, history = -1.0, 0, []
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(most):
        for number, (values, mask, _ids, labels) in enumerate(DataLoader(train, batch_size=BATCH, shuffle=True), 1):
            logits = model(values.float() * mask[..., None], mask)
            loss = nn.functional.binary_cross_entropy_with_logits(logits, labels) / ACCUMULATION
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            if number % ACCUMULATION == 0:
                optimiser.step()
                optimiser.zero_grad()
        optimiser.zero_grad()
        schedule.step()
        logits, labels = score(model, validation), validation.labels.numpy()
        loss = float(np.mean(np.logaddexp(0, logits) - labels * logits))
        found = auroc(logits, labels > 0)
        history.append(Epoch(time.process_time() - cpu, time.perf_counter() - wall, loss, found))
        stale = 0 if found > best else stale + 1
        best = max(best, found)
        if stale >= PATIENCE[kind]:
            break
    return model, history


def score(model: nn.Module, data: Padded) -> np.ndarray:
    """Logit of each record."""
    with torch.no_grad():
        parts = [
            model(values.float() * mask[..., None], mask) for values, mask, *_ in DataLoader(data, batch_size=BATCH)
        ]
    return torch.cat(parts).numpy().astype(np.float64)
