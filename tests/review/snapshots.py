"""A snapshot of a commit, made in memory, and the scores and rows that it holds."""

import numpy as np

from models_under_pressure.evaluation.scores import ScoreList
from models_under_pressure.review.changes import Row, Snapshot


def scores(dataset="mt_dev", probe="mean", signal=1.5, noise=0, size=200):
    generator = np.random.default_rng(0)
    labels = np.arange(size) % 2 == 0
    logits = generator.normal(size=size) + signal * labels + 0.3 * np.random.default_rng([9, noise]).normal(size=size)
    ids = tuple(f"{number:04}" for number in range(size))
    return ScoreList(dataset, probe, 42, ids, ids, labels, logits, 1 / (1 + np.exp(-logits)))


def rows(size=200, *, text="t"):
    return {f"{n:04}": Row("high-stakes" if n % 2 == 0 else "low-stakes", f"{text}{n}") for n in range(size)}


def snapshot():
    return Snapshot(
        name="main",
        commit="a" * 40,
        params={"probe.layer": 11, "seed": 42},
        files={"data/evals/dev/mt.jsonl": "h1"},
        datasets={"mt_dev": "data/evals/dev/mt.jsonl"},
        purposes={"mt_dev": "dev"},
        scores=[scores()],
        metrics={"mt_dev": {"mean": {"auroc": 0.8, "n": 200}}},
        overlap={"mt_apr_30": 0},
    )


def known(auroc, half=0.03, **others):
    return {"auroc": auroc, "auroc_low": auroc - half, "auroc_high": auroc + half, "n": 200, "positives": 100, **others}
