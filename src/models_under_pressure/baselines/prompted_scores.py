"""What a prompted model says of one dataset with one wording, in memory and as JSON Lines."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int64

from models_under_pressure.baselines.data import LabelledRecords, to_scores
from models_under_pressure.core.files import read_json, read_jsonl, write_json, write_jsonl
from models_under_pressure.evaluation.scores import ScoreList


@dataclass(frozen=True, eq=False)
class PromptedScores:
    """Log-likelihoods of the two replies for every record, in the order of the dataset."""

    high: Float[np.ndarray, "records"]
    low: Float[np.ndarray, "records"]
    tokens: Int64[np.ndarray, "records"]
    flops: Int64[np.ndarray, "records"]
    seconds: float | None
    """Wall time of tokenising and the forward passes; None for rows that were read from disk."""
    truncated: tuple[str, ...] = ()
    """Ids of records whose conversation lost its end."""
    normalised: dict[str, int] = field(default_factory=dict)
    """How conversations were changed for the chat template -> records."""
    neutralised: tuple[str, ...] = ()
    """Ids of records whose content spells special tokens."""

    @property
    def logits(self) -> Float[np.ndarray, "records"]:
        """Log of the odds of the high-stakes reply."""
        return self.high - self.low

    @property
    def probabilities(self) -> Float[np.ndarray, "records"]:
        """Softmax over the two replies: the share of the high-stakes one."""
        return np.exp(self.high - np.logaddexp(self.high, self.low))


def to_list(data: LabelledRecords, scores: PromptedScores, monitor: str, *, seed: int) -> ScoreList:
    """The scores in the form that every method has."""
    return to_scores(
        data,
        monitor,
        seed=seed,
        logits=scores.logits,
        probabilities=scores.probabilities,
        tokens=scores.tokens,
        flops=scores.flops,
    )


def write_scored(path: Path, scores: PromptedScores, ids: Sequence[str], *, key: str) -> None:
    """Write one row per record, then beside it what they were made from: a crash leaves no half-believed file."""
    description = path.with_suffix(".json")
    description.unlink(missing_ok=True)
    columns = zip(
        ids,
        scores.high.tolist(),
        scores.low.tolist(),
        scores.logits.tolist(),
        scores.probabilities.tolist(),
        scores.tokens.tolist(),
        scores.flops.tolist(),
        strict=True,
    )
    names = ("id", "high_log_likelihood", "low_log_likelihood", "logit", "probability", "tokens", "flops")
    write_jsonl(path, (dict(zip(names, row, strict=True)) for row in columns))
    report = {name: asdict(scores)[name] for name in ("truncated", "normalised", "neutralised")}
    write_json(description, {"key": key, **report})


def read_scored(path: Path, ids: Sequence[str], *, key: str) -> PromptedScores | None:
    """Read rows that were made from the same records, model, wording and code; None if there are none."""
    description = path.with_suffix(".json")
    if not description.exists():
        return None
    about: dict[str, Any] = read_json(description)
    if about.pop("key", None) != key:
        return None
    rows = {row["id"]: row for _, row in read_jsonl(path)}
    if list(rows) != list(ids):
        logging.getLogger(__name__).warning("%s does not hold the rows that it should; computed again", path)
        return None
    return PromptedScores(
        high=np.array([row["high_log_likelihood"] for row in rows.values()]),
        low=np.array([row["low_log_likelihood"] for row in rows.values()]),
        tokens=np.array([row["tokens"] for row in rows.values()], dtype=np.int64),
        flops=np.array([row["flops"] for row in rows.values()], dtype=np.int64),
        seconds=None,
        truncated=tuple(about["truncated"]),
        normalised=about["normalised"],
        neutralised=tuple(about["neutralised"]),
    )
