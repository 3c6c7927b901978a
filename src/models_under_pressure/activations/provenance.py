"""What a store will hold: its records as tokens, and the attributes that say where its numbers come from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models_under_pressure.activations.chat import ChatTemplate
from models_under_pressure.activations.config import ExtractConfig
from models_under_pressure.activations.model import (
    ModelDescription,
    code_fingerprint,
    library_versions,
    tokenizer_fingerprint,
)
from models_under_pressure.activations.ragged import TEMPLATE
from models_under_pressure.activations.store import MANIFEST, open_store
from models_under_pressure.activations.tokens import TokenisationReport, TokenisedRecord, tokenise
from models_under_pressure.activations.writer import Layout
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.records import Record, content_hash

CIRCUMSTANCES = frozenset({"code", "device", "libraries"})
"""Attributes that may differ between two stores that need not be extracted again."""


@dataclass(frozen=True, eq=False)
class Plan:
    """The records of a dataset as tokens, and the store of each layer."""

    tokenised: Sequence[TokenisedRecord]
    tokenisation: TokenisationReport
    layouts: Mapping[int, Layout]


def plan_stores(
    records: Sequence[Record], model: ModelDescription, layers: Sequence[int], config: ExtractConfig
) -> Plan:
    """Tokenise records, in the order of their ids, and lay out their stores.

    Raises:
        UserError: there are no records, or the chat template refuses one.
    """
    if not records:
        raise UserError("the dataset has no records.", remedy="check the file and its filters.")
    ordered = sorted(records, key=lambda record: record.id)
    tokenised, report = tokenise(
        ordered,
        model.tokenizer,
        name=model.name,
        max_tokens=config.max_tokens,
        truncation_side=config.truncation_side,
    )
    pooled = config.keep != "tokens"
    rows = [1 if pooled else len(record.token_ids) for record in tokenised]
    common: dict[str, Any] = {
        "model": model.name,
        "revision": model.revision,
        "quantization": model.config.quantization,
        "compute_dtype": model.dtype,
        "compiled": config.compile,
        "device": model.device,
        "hook_point": config.hook_point,
        "keep": config.keep,
        "template_hash": ChatTemplate(model.tokenizer, model.name).hash,
        "tokenizer": tokenizer_fingerprint(model.tokenizer),
        "max_tokens": config.max_tokens,
        "truncation_side": config.truncation_side,
        "dataset": content_hash(ordered),
        "records": len(ordered),
        "tokens": sum(len(record.token_ids) for record in tokenised),
        "truncated": list(report.truncated),
        "normalised": dict(sorted(report.normalised.items())),
        "neutralised": list(report.neutralised),
        "code": code_fingerprint(),
        "libraries": library_versions(),
    }
    columns: dict[str, Any] = {
        "ids": [record.id for record in tokenised],
        "offsets": np.cumsum([0, *rows], dtype=np.int64),
        "token_ids": np.full(sum(rows), -1, dtype=np.int32)
        if pooled
        else np.concatenate([record.token_ids for record in tokenised]),
        # a pooled row has no one role: a probe that asks for user tokens must refuse it
        "roles": np.full(sum(rows), TEMPLATE, dtype=np.int8)
        if pooled
        else np.concatenate([record.roles for record in tokenised]),
        "hidden": model.hidden,
        "dtype": np.dtype(np.float32 if pooled or config.stored == "float32" else np.uint16),
    }
    layouts = {layer: Layout(attributes=common | {"layer": layer}, **columns) for layer in layers}
    return Plan(tokenised, report, layouts)


def holds(path: Path, layout: Layout) -> bool:
    """Whether a finished store at `path` has this content: the same model, data and settings."""
    if not (path / MANIFEST).is_file():
        return False
    store = open_store(path)
    found = store.attributes
    wanted = {name: value for name, value in layout.attributes.items() if name not in CIRCUMSTANCES}
    return store.dtype == layout.dtype and all(found.get(name) == value for name, value in wanted.items())
