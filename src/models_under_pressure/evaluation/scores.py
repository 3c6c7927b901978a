"""Scores per record on disk: Parquet, one row per monitor, seed and record.

A monitor is whatever scores conversations, a probe or a baseline; its name stands in the column `probe`. With the
scores two revisions can be compared record by record, and every figure drawn, without a model.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int64

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import atomic_path

if TYPE_CHECKING:
    import pyarrow as pa

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
        columns = (self.ids, self.groups, self.labels, self.logits, self.probabilities, self.tokens, self.flops)
        sizes = {len(column) for column in columns if column is not None}
        if len(sizes) > 1:
            raise ValueError(f"columns of {self.dataset}/{self.probe} have different lengths: {sorted(sizes)}")


def by_id(scores: ScoreList) -> ScoreList:
    """The same scores, records sorted by id."""
    order = np.array(sorted(range(len(scores.ids)), key=scores.ids.__getitem__), dtype=np.int64)
    return replace(
        scores,
        ids=tuple(scores.ids[row] for row in order),
        groups=tuple(scores.groups[row] for row in order),
        labels=scores.labels[order],
        logits=scores.logits[order],
        probabilities=scores.probabilities[order],
        tokens=None if scores.tokens is None else scores.tokens[order],
        flops=None if scores.flops is None else scores.flops[order],
    )


def write_scores(path: Path, lists: Iterable[ScoreList]) -> None:
    """Write score lists atomically, rows by dataset, probe, seed and id: equal lists give equal bytes."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    ordered = sorted(lists, key=lambda scores: (scores.dataset, scores.probe, scores.seed))
    table = pa.concat_tables([_schema().empty_table(), *(_table(scores) for scores in ordered)])
    with atomic_path(path) as temporary:
        parquet.write_table(table, temporary, compression="zstd", store_schema=False)


def read_scores(path: Path) -> list[ScoreList]:
    """Read score lists.

    Raises:
        UserError: the file is missing, is not Parquet, or lacks a column.
    """
    import pyarrow as pa
    import pyarrow.parquet as parquet

    try:
        table = parquet.read_table(path)
    except FileNotFoundError:
        raise UserError("file not found.", where=str(path), remedy="run `dvc repro` or `dvc pull`.") from None
    except pa.ArrowInvalid as error:
        raise UserError(
            f"not Parquet ({error}).", where=str(path), remedy="run `dvc checkout` or `dvc repro`."
        ) from None
    missing = [name for name in _schema().names if name not in (*table.column_names, *_COSTS)]
    if missing:
        raise UserError(
            f"column {', '.join(missing)} is missing.", where=str(path), remedy="run `dvc repro evaluate` again."
        )
    columns: dict[str, Any] = {name: table.column(name).to_pylist() for name in ("dataset", "probe", "seed")}
    keys = list(zip(columns["dataset"], columns["probe"], columns["seed"], strict=True))
    rows: dict[tuple[str, str, int], list[int]] = {}
    for row, key in enumerate(keys):
        rows.setdefault(key, []).append(row)
    return [_score_list(key, table.take(indices)) for key, indices in rows.items()]


def _schema() -> "pa.Schema":
    import pyarrow as pa

    text, real = pa.string(), pa.float64()
    return pa.schema(
        [
            ("dataset", text),
            ("probe", text),
            ("seed", pa.int64()),
            ("id", text),
            ("group", text),
            ("label", pa.int8()),
            ("logit", real),
            ("probability", real),
            ("tokens", pa.int64()),
            ("flops", pa.int64()),
        ]
    )


def _table(scores: ScoreList) -> "pa.Table":
    import pyarrow as pa

    order = sorted(range(len(scores.ids)), key=scores.ids.__getitem__)
    size = len(order)
    columns = [
        [scores.dataset] * size,
        [scores.probe] * size,
        [scores.seed] * size,
        [scores.ids[row] for row in order],
        [scores.groups[row] for row in order],
        scores.labels[order].astype(np.int8),
        np.asarray(scores.logits, dtype=np.float64)[order],
        np.asarray(scores.probabilities, dtype=np.float64)[order],
        *([None] * size if cost is None else cost[order] for cost in (scores.tokens, scores.flops)),
    ]
    return pa.table([pa.array(column, field.type) for column, field in zip(columns, _schema(), strict=True)], _schema())


def _score_list(key: tuple[str, str, int], table: "pa.Table") -> ScoreList:
    dataset, probe, seed = key
    return ScoreList(
        dataset=dataset,
        probe=probe,
        seed=seed,
        ids=tuple(table.column("id").to_pylist()),
        groups=tuple(table.column("group").to_pylist()),
        labels=table.column("label").to_numpy() == 1,
        logits=table.column("logit").to_numpy(),
        probabilities=table.column("probability").to_numpy(),
        tokens=_cost(table, "tokens"),
        flops=_cost(table, "flops"),
    )


def _cost(table: "pa.Table", name: str) -> np.ndarray | None:
    if name not in table.column_names or table.column(name).null_count:
        return None
    return table.column(name).to_numpy()
