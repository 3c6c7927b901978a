"""Scores per record on disk: Parquet, one row per monitor, seed and record.

A monitor is whatever scores conversations, a probe or a baseline; its name stands in the column `probe`. With the
scores two revisions can be compared record by record, and every figure drawn, without a model.
"""

from collections.abc import Iterable, Sequence, Set, Sized
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int64

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import atomic_path

_COLUMNS = {
    "dataset": "string",
    "probe": "string",
    "seed": "int64",
    "id": "string",
    "group": "string",
    "label": "int8",
    "logit": "float64",
    "probability": "float64",
    "tokens": "int64",
    "flops": "int64",
}
"""Columns of a file and their types."""
_COSTS = ("tokens", "flops")
"""Columns that files of older revisions lack."""


@dataclass(frozen=True, eq=False)
class ScoreList:
    """What one trained monitor says of one dataset."""

    dataset: str
    probe: str
    """Name of the monitor: of a probe, or of a baseline."""
    seed: int
    ids: tuple[str, ...]
    groups: tuple[str, ...]
    labels: Bool[np.ndarray, "records"]
    logits: Float[np.ndarray, "records"]
    probabilities: Float[np.ndarray, "records"]
    tokens: Int64[np.ndarray, "records"] | None = None
    """Tokens that the monitor reads; None where they are not known."""
    flops: Int64[np.ndarray, "records"] | None = None
    """Floating point operations that a record alone costs, beyond what the monitored model computes anyway."""

    def __post_init__(self) -> None:
        columns: tuple[Sized | None, ...] = (
            self.ids,
            self.groups,
            self.labels,
            self.logits,
            self.probabilities,
            self.tokens,
            self.flops,
        )
        sizes = {len(column) for column in columns if column is not None}
        if len(sizes) > 1:
            raise ValueError(f"columns of {self.dataset}/{self.probe} have different lengths: {sorted(sizes)}")


def by_id(scores: ScoreList) -> ScoreList:
    """The same scores, records sorted by id."""
    return _rows(scores, sorted(range(len(scores.ids)), key=scores.ids.__getitem__))


def only(scores: ScoreList, ids: Set[str]) -> ScoreList:
    """The scores of some records."""
    return _rows(scores, [row for row, id_ in enumerate(scores.ids) if id_ in ids])


def _rows(scores: ScoreList, rows: Sequence[int]) -> ScoreList:
    order = np.array(rows, dtype=np.int64)
    return replace(
        scores,
        ids=tuple(scores.ids[row] for row in rows),
        groups=tuple(scores.groups[row] for row in rows),
        labels=scores.labels[order],
        logits=scores.logits[order],
        probabilities=scores.probabilities[order],
        tokens=None if scores.tokens is None else scores.tokens[order],
        flops=None if scores.flops is None else scores.flops[order],
    )


def write_scores(path: Path, lists: Iterable[ScoreList]) -> None:
    """Write score lists atomically, rows by dataset, probe, seed and id: equal lists give equal bytes."""
    arrow, parquet = _pyarrow()
    ordered = sorted(map(by_id, lists), key=lambda scores: (scores.dataset, scores.probe, scores.seed))
    schema = arrow.schema([(name, arrow.type_for_alias(kind)) for name, kind in _COLUMNS.items()])
    table = arrow.concat_tables([schema.empty_table(), *(arrow.table(_columns(one), schema) for one in ordered)])
    with atomic_path(path) as temporary:
        parquet.write_table(table, temporary, compression="zstd", store_schema=False)


def read_scores(path: Path) -> list[ScoreList]:
    """Read score lists.

    Raises:
        UserError: the file is missing, is not Parquet, or lacks a column.
    """
    arrow, parquet = _pyarrow()
    try:
        table = parquet.read_table(path)
    except FileNotFoundError:
        raise UserError("file not found.", where=str(path), remedy="run `dvc repro` or `dvc pull`.") from None
    except arrow.ArrowInvalid as error:
        raise UserError(
            f"not Parquet ({error}).", where=str(path), remedy="run `dvc checkout` or `dvc repro`."
        ) from None
    missing = [name for name in _COLUMNS if name not in (*table.column_names, *_COSTS)]
    if missing:
        raise UserError(
            f"column {', '.join(missing)} is missing.", where=str(path), remedy="run `dvc repro evaluate` again."
        )
    keys = zip(*(table.column(name).to_pylist() for name in ("dataset", "probe", "seed")), strict=True)
    rows: dict[tuple[str, str, int], list[int]] = {}
    for row, key in enumerate(keys):
        rows.setdefault(key, []).append(row)
    return [_score_list(key, table.take(indices)) for key, indices in rows.items()]


def _pyarrow() -> tuple[Any, Any]:
    """The library, which has no types, and its part for Parquet."""
    import pyarrow
    import pyarrow.parquet

    return pyarrow, pyarrow.parquet


def _columns(scores: ScoreList) -> dict[str, Any]:
    size = len(scores.ids)
    return {
        "dataset": [scores.dataset] * size,
        "probe": [scores.probe] * size,
        "seed": [scores.seed] * size,
        "id": scores.ids,
        "group": scores.groups,
        "label": scores.labels.astype(np.int8),
        "logit": np.asarray(scores.logits, dtype=np.float64),
        "probability": np.asarray(scores.probabilities, dtype=np.float64),
        "tokens": [None] * size if scores.tokens is None else scores.tokens,
        "flops": [None] * size if scores.flops is None else scores.flops,
    }


def _score_list(key: tuple[str, str, int], table: Any) -> ScoreList:
    dataset, probe, seed = key
    costs = {
        name: table.column(name).to_numpy()
        for name in _COSTS
        if name in table.column_names and not table.column(name).null_count
    }
    return ScoreList(
        dataset=dataset,
        probe=probe,
        seed=seed,
        ids=tuple(table.column("id").to_pylist()),
        groups=tuple(table.column("group").to_pylist()),
        labels=table.column("label").to_numpy() == 1,
        logits=table.column("logit").to_numpy(),
        probabilities=table.column("probability").to_numpy(),
        tokens=costs.get("tokens"),
        flops=costs.get("flops"),
    )
