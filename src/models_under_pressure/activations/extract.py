"""Extracting the activations of datasets into one store per layer, and verifying them by computing some again."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from models_under_pressure.activations.blocks import check_layers
from models_under_pressure.activations.chat import ChatTemplate
from models_under_pressure.activations.config import ExtractConfig, LoadedModel, ModelConfig, ModelDescription
from models_under_pressure.activations.engine import run_local, windows
from models_under_pressure.activations.forward import prepared
from models_under_pressure.activations.model import (
    code_fingerprint,
    describe_model,
    library_versions,
    load_model,
    model_of,
    tokenizer_fingerprint,
)
from models_under_pressure.activations.ragged import TEMPLATE
from models_under_pressure.activations.store import MANIFEST, Store, discard_stale, open_store, shelf_path, to_float32
from models_under_pressure.activations.tokens import TokenisationReport, TokenisedRecord, check_refused, tokenise
from models_under_pressure.activations.writer import Layout, StoreWriter
from models_under_pressure.core.display import progress
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import file_hash, stable_hash
from models_under_pressure.core.records import Record, content_hash, read_records

Outcome = Literal["written", "resumed", "exists"]

_CIRCUMSTANCES = frozenset({"code", "device", "libraries", "left_out"})
"""Attributes that may differ between two stores that need not be extracted again; older ones do not say what was left
out."""
_SHOWN = 5
"""Ids named in a message; the store's attributes list all."""


@dataclass(frozen=True, eq=False)
class StorePlan:
    """The records of a dataset as tokens, and the store of each layer."""

    tokenised: Sequence[TokenisedRecord]
    tokenisation: TokenisationReport
    layouts: Mapping[int, Layout]


def extract(
    records: Sequence[Record], *, model: ModelDescription, config: ExtractConfig, paths: Mapping[int, Path]
) -> dict[int, Outcome]:
    """Extract the activations of a dataset at several layers in one pass, into the store of each layer.

    A finished store of the same content is left alone; an unfinished one is continued at its first missing shard.

    Args:
        records: the dataset, in any order; rows of the store are in the order of the ids.
        model: the loaded model; for `engine: ray`, whose workers load their own, its description is enough.
        config: how activations are taken and kept.
        paths: decoder block, from 0 -> path of its store.

    Returns:
        Block -> what became of its store.

    Raises:
        RefusedError: once all others are stored, more records are refused than `config.allow_refused`.
        UserError: the model has no such layer; a value is not finite; the disk is full or read-only.
    """
    plan = plan_stores(records, model, paths, config)
    outcomes = _fill(plan, model, config, paths)
    check_refused(plan.tokenisation.refused, allowed=config.allow_refused)
    return outcomes


def extract_files(
    jobs: Sequence[tuple[Path, Mapping[int, Path]]], *, model: ModelConfig, config: ExtractConfig
) -> Iterator[tuple[Path, Outcome]]:
    """Extract several dataset files with one model load, or none if every store exists with the same content.

    Only the blocks that the deepest layer needs are loaded.

    Args:
        jobs: a dataset file, and the path of the store of each layer; for each dataset.
        model: the model.
        config: how activations are taken and kept.

    Yields:
        The path of each store and what became of it.

    Raises:
        RefusedError: once all others are stored, more records of the files together are refused than
            `config.allow_refused`.
    """
    description = describe_model(model)
    refused: dict[str, str] = {}
    for file, stores in jobs:
        plan = plan_stores(read_records(file, None), description, stores, config)
        refused |= {f"{file.stem}: {id_}": reason for id_, reason in plan.tokenisation.refused.items()}
        is_done = all(holds(stores[layer], layout) for layer, layout in plan.layouts.items())
        if not is_done and config.engine == "local" and not isinstance(description, LoadedModel):
            description = load_model(model, layers=[max(layer for _, others in jobs for layer in others)])
        for layer, outcome in _fill(plan, description, config, stores).items():
            yield stores[layer], outcome
    check_refused(refused, allowed=config.allow_refused)


def extract_on_shelf(
    files: Sequence[Path], layers: Sequence[int], *, model: ModelConfig, config: ExtractConfig
) -> Iterator[tuple[int, Path, Outcome]]:
    """Extract dataset files into stores outside any project, named by all that shapes them.

    One process extracts at a time, and holds the shelf until its last store is taken; others wait and find theirs done.

    Yields:
        Layer, path of the store and what became of it, for each file and layer in their order.

    Raises:
        RefusedError: once all others are stored, the chat template refuses more records than `config.allow_refused`.
    """
    from filelock import FileLock

    settings = config.model_dump(mode="json", exclude={"allow_refused"})  # which decides on no store
    made_by = [model.model_dump(mode="json"), settings, code_fingerprint(), library_versions()]
    shelf = shelf_path()
    shelf.mkdir(parents=True, exist_ok=True)

    def stores_of(file: Path) -> dict[int, Path]:
        content = file_hash(file)
        return {layer: shelf / stable_hash(content, layer, *made_by) for layer in layers}

    jobs = [(file, stores_of(file)) for file in files]
    with FileLock(shelf / "lock"):
        for _, stores in jobs:
            for store in stores.values():
                discard_stale(store)
        order = [layer for _ in files for layer in layers]
        for layer, (store, outcome) in zip(order, extract_files(jobs, model=model, config=config), strict=True):
            yield layer, store, outcome


def _fill(
    plan: StorePlan, model: ModelDescription, config: ExtractConfig, paths: Mapping[int, Path]
) -> dict[int, Outcome]:
    todo = {layer: layout for layer, layout in plan.layouts.items() if not holds(paths[layer], layout)}
    writers = {layer: StoreWriter(paths[layer], layout) for layer, layout in todo.items()}
    outcomes: dict[int, Outcome] = dict.fromkeys(plan.layouts, "exists")
    outcomes |= {layer: "resumed" if writer.resumed else "written" for layer, writer in writers.items()}
    if writers:
        _run(model, config, plan, writers)
        for writer in writers.values():
            writer.finish()
        tell_changes(plan.tokenisation)
    return outcomes


def _run(model: ModelDescription, config: ExtractConfig, plan: StorePlan, writers: Mapping[int, StoreWriter]) -> None:
    layout = next(iter(writers.values())).layout
    missing = {shard for writer in writers.values() for shard in writer.missing}
    todo = list(windows(layout.offsets, layout.shard_rows, missing, pooled=config.keep != "tokens"))
    total = sum(window.last_row - window.first_row for window in todo)
    unit = "tokens" if config.keep == "tokens" else "records"
    with progress(total, what=f"extract, layer {', '.join(map(str, writers))}", unit=unit) as shown:
        if config.engine == "ray":
            from models_under_pressure.activations.ray_engine import run_ray

            run_ray(todo, plan.tokenised, model=model, config=config, writers=writers, shown=shown)
        elif isinstance(model, LoadedModel):
            run_local(todo, plan.tokenised, model=model, config=config, writers=writers, shown=shown)
        else:
            raise TypeError("the local engine needs a loaded model")


def tell_changes(report: TokenisationReport) -> None:
    """Say what was changed; silence would be a lie about the data."""
    log = logging.getLogger(__name__)
    if report.truncated:
        log.warning("%d records are longer than the limit and were cut: %s", *_named(report.truncated))
    if report.neutralised:
        log.warning("%d records spell special tokens; read as plain text: %s", *_named(report.neutralised))
    for normalisation, count in sorted(report.normalised.items()):
        log.warning("changed for the chat template: %s (%d)", normalisation, count)
    if report.left_out:
        told = [f"{id_} ({count})" for id_, count in report.left_out.items()]
        message = "%d characters are in no token, left out by the chat template or as ids, of %d records: %s"
        log.warning(message, sum(report.left_out.values()), *_named(told))
    for id_, reason in report.refused.items():
        log.warning("record %r is skipped: %s", id_, reason)


def _named(ids: Sequence[str]) -> tuple[int, str]:
    return len(ids), ", ".join(ids[:_SHOWN]) + (", …" if len(ids) > _SHOWN else "")


def plan_stores(
    records: Sequence[Record], model: ModelDescription, layers: Iterable[int], config: ExtractConfig
) -> StorePlan:
    """Tokenise records, in the order of their ids, and lay out their stores.

    Raises:
        RefusedError: all records are refused.
        UserError: the model has no such layer, or there are no records.
    """
    numbers = list(layers)
    if check_layers(numbers, model.n_layers, model.name) != numbers:
        raise ValueError(f"layers {numbers}: stores are named by a layer's own number")
    if not records:
        raise UserError("the dataset has no records.", remedy="check the file and its filters.")
    ordered = sorted(records, key=lambda record: record.id)
    limits: dict[str, Any] = {"max_tokens": config.max_tokens, "truncation_side": config.truncation_side}
    rules: dict[str, Any] = {"strict": config.strict_template, "allow_refused": None}
    tokenised, report = tokenise(ordered, model.tokenizer, name=model.name, **limits, **rules)
    if not tokenised:
        check_refused(report.refused, allowed=0)
    common: dict[str, Any] = {
        **model.origin,
        "quantization": model.quantization,
        "compute_dtype": model.dtype,
        "compiled": False,  # blocks once could be
        "device": model.device,
        "hook_point": config.hook_point,
        "keep": config.keep,
        "template_hash": ChatTemplate(model.tokenizer, model.name).hash,
        "tokenizer": tokenizer_fingerprint(model.tokenizer),
        **limits,
        "dataset": content_hash(ordered),
        "records": len(tokenised),
        "tokens": sum(len(record.token_ids) for record in tokenised),
        **report.row,
        "code": code_fingerprint(),
        "libraries": library_versions(),
    }
    columns = _columns(tokenised, model.hidden, config)
    layouts = {layer: Layout(attributes=common | {"layer": layer}, **columns) for layer in numbers}
    return StorePlan(tokenised, report, layouts)


def _columns(tokenised: Sequence[TokenisedRecord], hidden: int, config: ExtractConfig) -> dict[str, Any]:
    count = len(tokenised)
    if config.keep == "tokens":
        rows = [len(record.token_ids) for record in tokenised]
        token_ids = np.concatenate([record.token_ids for record in tokenised])
        roles = np.concatenate([record.roles for record in tokenised])
    else:
        rows, token_ids = [1] * count, np.full(count, -1, dtype=np.int32)
        # a pooled row has no one role: a probe that asks for user tokens must refuse it
        roles = np.full(count, TEMPLATE, dtype=np.int8)
    return {
        "ids": [record.id for record in tokenised],
        "offsets": np.cumsum([0, *rows], dtype=np.int64),
        "token_ids": token_ids,
        "roles": roles,
        "hidden": hidden,
        "dtype": np.dtype(np.uint16 if config.keep == "tokens" and config.stored == "bfloat16" else np.float32),
    }


def holds(path: Path, layout: Layout) -> bool:
    """Whether a finished store at `path` has this content: the same model, data and settings."""
    if not (path / MANIFEST).is_file():
        return False
    store = open_store(path)
    found = store.attributes
    wanted = {name: value for name, value in layout.attributes.items() if name not in _CIRCUMSTANCES}
    is_same = store.dtype == layout.dtype and found["format_version"] == layout.format_version
    wanted.setdefault("adapter_revision", None)  # a store without an adapter does not name one
    return is_same and all(found.get(name) == value for name, value in wanted.items())


_TOLERANCES = {"float32": 0.01, "bfloat16": 0.03, "quantised": 0.1}
"""Greatest relative difference of a record's activations on another machine; the store itself is rounded by 0.004."""


@dataclass(frozen=True)
class Recomputed:
    """A record of a store against the same record computed now."""

    id: str
    identical: bool
    """Whether all bits agree."""
    difference: float
    """Norm of the difference over the norm of the activations."""


def recompute(store: Store, *, sample: int, seed: int, trust_remote_code: bool = False) -> list[Recomputed]:
    """Verify the checksums of a store, then run a random sample of its records through the model again.

    Raises:
        UserError: a file is damaged; the model is not the one of the store; the tokens were not kept (a pooled
            store); or a record differs by more than rounding on another machine explains.
    """
    store.verify()
    attributes = store.attributes
    if attributes["keep"] != "tokens":
        raise UserError(
            "a store of pooled vectors has no tokens to compute again; its checksums agree.",
            where=str(store.path),
            remedy="compare it with a new extraction.",
        )
    layer = int(attributes["layer"])
    model = load_model(model_of(attributes, trust_remote_code=trust_remote_code), layers=[layer])
    made_by = {name: attributes.get(name) for name in ("revision", "adapter_revision")}
    if made_by != {"revision": model.revision, "adapter_revision": model.adapter_revision}:
        raise UserError(
            f"the model's revision is {_revisions(model.origin)}, the store was made with {_revisions(attributes)}.",
            where=str(store.path),
            remedy="extract again with the present model, or bring back the old one.",
        )
    chosen = np.sort(np.random.default_rng(seed).permutation(len(store.ids))[:sample]).tolist()
    records = {index: _record(store, index) for index in chosen}
    config = ExtractConfig(
        hook_point=attributes["hook_point"], stored="bfloat16" if store.dtype == np.uint16 else "float32"
    )
    with prepared(model, [layer], config) as forward:
        fresh = {index: values[layer] for index, values in forward.run(records)}
    results = [_compare(store, index, fresh[index]) for index in chosen]
    _judge(store, results)
    return results


def _revisions(attributes: Mapping[str, Any]) -> str:
    adapter = attributes.get("adapter_revision")
    return str(attributes["revision"]) + (f" with the adapter {adapter}" if adapter else "")


def _record(store: Store, index: int) -> TokenisedRecord:
    rows = slice(*store.offsets[index : index + 2].tolist())
    return TokenisedRecord(store.ids[index], store.token_ids[rows], store.roles[rows])


def _compare(store: Store, index: int, fresh: np.ndarray) -> Recomputed:
    kept = store.read_bits(*store.offsets[index : index + 2].tolist())
    ours, theirs = to_float32(kept), to_float32(fresh)
    difference = float(np.linalg.norm(ours - theirs) / np.linalg.norm(ours))
    return Recomputed(store.ids[index], bool(np.array_equal(kept, fresh)), difference)


def _judge(store: Store, results: Sequence[Recomputed]) -> None:
    quantised = store.attributes["quantization"] != "none"
    tolerance = _TOLERANCES["quantised" if quantised else store.attributes["compute_dtype"]]
    wrong = [result for result in results if not result.difference <= tolerance]
    if wrong:
        raise UserError(
            f"{len(wrong)} of {len(results)} records differ from the model's numbers, first {wrong[0].id!r} by "
            f"{wrong[0].difference:.1%}.",
            where=str(store.path),
            remedy="delete the store and extract again.",
        )
