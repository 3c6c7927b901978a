"""Scores per record on disk: Parquet, one row per monitor, seed and record.

A monitor is whatever scores conversations, a probe or a baseline; its name stands in the column `probe`. With the
scores two revisions can be compared record by record, and every figure drawn, without a model.
"""

from collections.abc import Iterable, Sequence, Set
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
_ARRAYS = ("labels", "logits", "probabilities", *_COSTS)


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
        columns = (getattr(self, name) for name in ("ids", "groups", *_ARRAYS))
        sizes = {len(column) for column in columns if column is not None}
        if len(sizes) > 1:
            raise ValueError(f"columns of {self.dataset}/{self.probe} have different lengths: {sorted(sizes)}")


def by_id(scores: ScoreList) -> ScoreList:
    """The same scores, records sorted by id."""
    return _rows(scores, sorted(range(len(scores.ids)), key=scores.ids.__getitem__))


def only(scores: ScoreList, ids: Set[str]) -> ScoreList:
    """The scores of some records."""
    return _rows(scores, [row for row, id_ in enumerate(scores.ids) if id_ in ids])


def ensemble(seeds: Sequence[ScoreList]) -> ScoreList:
    """The seeds of a monitor as one: the mean of their logits and of their probabilities, at the cost of all."""
    logits, probabilities = (np.mean([getattr(one, name) for one in seeds], axis=0) for name in _ARRAYS[1:3])
    costs = [one.flops for one in seeds if one.flops is not None]
    flops = np.sum(costs, axis=0) if len(costs) == len(seeds) else None
    return replace(seeds[0], logits=logits, probabilities=probabilities, flops=flops)


def _rows(scores: ScoreList, rows: Sequence[int]) -> ScoreList:
    order = np.array(rows, dtype=np.int64)
    arrays = {name: array[order] for name in _ARRAYS if (array := getattr(scores, name)) is not None}
    ids, groups = (tuple(column[row] for row in rows) for column in (scores.ids, scores.groups))
    return replace(scores, ids=ids, groups=groups, **arrays)


def write_scores(path: Path, lists: Iterable[ScoreList]) -> None:
    """Write score lists atomically, rows by dataset, probe, seed and id: equal lists give equal bytes."""
    arrow, parquet = _pyarrow()
    ordered = sorted(map(by_id, lists), key=lambda scores: (scores.dataset, scores.probe, scores.seed))
    schema = arrow.schema([(name, arrow.type_for_alias(kind)) for name, kind in _COLUMNS.items()])
    tables = [schema.empty_table()]
    for one in ordered:
        size = len(one.ids)
        columns = {name: [getattr(one, name)] * size for name in ("dataset", "probe", "seed")}
        columns |= {"id": one.ids, "group": one.groups, "label": one.labels.astype(np.int8)}
        columns |= {"logit": one.logits, "probability": one.probabilities}
        columns |= {name: [None] * size if (cost := getattr(one, name)) is None else cost for name in _COSTS}
        tables.append(arrow.table(columns, schema))
    table = arrow.concat_tables(tables)
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


def _score_list(key: tuple[str, str, int], table: Any) -> ScoreList:
    ids, groups = (tuple(table.column(name).to_pylist()) for name in ("id", "group"))
    label, logits, probabilities = (table.column(name).to_numpy() for name in ("label", "logit", "probability"))
    known = [name for name in _COSTS if name in table.column_names and not table.column(name).null_count]
    costs = {name: table.column(name).to_numpy() for name in known}
    return ScoreList(*key, ids, groups, label == 1, logits, probabilities, **costs)
