"""What the files of a stranger's model may not do, and their faults in one line.

A model's folder or repository may name Python files for transformers to run, pickled weights, an adapter beside the
weights, or a kernel to download. None of it is taken but the first, and that only where `ModelConfig.trust_remote_code`
says so, which no description of a store or probe can. Of an adapter (`adapters`) no code is ever run.
"""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from models_under_pressure.activations.config import EMBEDDED_MODEL, ModelConfig
from models_under_pressure.activations.embedded import from_transformers, quiet
from models_under_pressure.core.errors import UserError, first_line
from models_under_pressure.core.files import is_object, read_json

_SAFE = (".safetensors", ".safetensors.index.json")
_INDEX = "model.safetensors.index.json"


@contextmanager
def explained(config: ModelConfig) -> Generator[None]:
    """Load quietly, and turn whatever a model's files make transformers stumble over into one line.

    Raises:
        UserError: the model is not found, gated, damaged, or wants code of its own or a package that is missing.
    """
    try:
        with quiet():
            yield
    except UserError:
        raise
    except Exception as error:  # damaged files raise what the code that trips over them raises
        said = first_line(error)
        if "trust_remote_code" in str(error):
            raise own_code(config) from None
        if "use_safetensors" in said or (isinstance(error, OSError) and "no file named model.safetensors" in said):
            raise _refusal(config, "has no weights as safetensors; pickled ones are not read") from None
        raise UserError(f"the model cannot be loaded ({said}).", where=config.name, remedy=_remedy(error)) from error


def own_code(config: ModelConfig) -> UserError:
    """What is said of a model that does not work without Python files of its own."""
    remedy = "use another model; or read that code, then set `model.trust_remote_code` beside its name in params.yaml."
    return UserError("the model contains code of its own; not run.", where=config.name, remedy=remedy)


def check_config(config: ModelConfig, settings: Any) -> None:
    """Refuse a config that names a kernel to download, or weights that are no safetensors.

    Raises:
        UserError: naming it.
    """
    for part in (settings, *(getattr(settings, name, None) for name in getattr(settings, "sub_configs", ()))):
        for name in ("_attn_implementation", "_experts_implementation"):
            if "/" in str(getattr(part, name, "")):
                raise _refusal(config, f"wants the kernel {getattr(part, name)!r}; not run")
    weights = getattr(settings, "transformers_weights", None)
    if weights is not None and not str(weights).endswith(_SAFE):
        raise _refusal(config, f"names the weights {weights!r}, which are no safetensors")


def check_weights(config: ModelConfig, source: str) -> None:
    """Refuse adapters and pickled weights before any is opened.

    Raises:
        UserError: naming the file.
    """
    folder = Path(source)
    if folder.is_dir() and (folder / _INDEX).is_file():
        index = read_json(folder / _INDEX)
        shards: Any = index.get("weight_map") if is_object(index) else None
        if not is_object(shards):
            raise _refusal(config, f"has no `weight_map` in {_INDEX}")
        for name in map(str, shards.values()):
            if not name.endswith(".safetensors") or Path(name).name != name:
                raise _refusal(config, f"names the weights {name!r}, which are no safetensors beside it")
    with explained(config):
        adapter = from_transformers("utils").find_adapter_config_file(source, revision=config.revision)
    if adapter is not None:
        problem = "comes with an adapter (adapter_config.json), whose base is another model"
        remedy = "name that model with --model and this one with --adapter (`model.adapter`); or take the adapter out."
        raise UserError(f"the model {problem}.", where=config.name, remedy=remedy)


def check_complete(config: ModelConfig, found: Mapping[str, Any]) -> None:
    """Refuse a model whose file lacks weights: transformers would draw them at random.

    Raises:
        UserError: naming the first.
    """
    missing = sorted(found["missing_keys"])
    if missing:
        problem = f"the model's file lacks {len(missing)} of its weights, first {missing[0]}."
        raise UserError(problem, where=config.name, remedy="fetch it again, or use a model that is made for this use.")


def _refusal(config: ModelConfig, problem: str) -> UserError:
    remedy = "take it from its authors as safetensors, or convert it with transformers where you trust it."
    return UserError(f"the model {problem}.", where=config.name, remedy=remedy)


def _remedy(error: Exception) -> str:
    said = str(error).lower()
    if isinstance(error, ImportError):
        return "install the package that the message names, or use a checkpoint that is not quantised."
    if "gated" in said or "401" in said:
        return "accept the licence on the model's page and set HF_TOKEN in .env."
    if "out of memory" in said:
        return "use a smaller model, or quantise it (`model.quantization`)."
    if isinstance(error, OSError | ValueError):
        return f"check the name and the network, or use the embedded model {EMBEDDED_MODEL}."
    return f"its files are damaged, or of another kind: fetch them again, or use the embedded model {EMBEDDED_MODEL}."
