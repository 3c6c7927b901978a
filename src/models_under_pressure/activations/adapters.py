"""PEFT adapters: found, checked, and added to the model that they change.

Only kinds that change a model's weights are taken: the pass stays what it is, token by token. What an adapter's folder
may not do stands in `trust`; here is what its weights must fit.
"""

import re
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

from models_under_pressure.activations.config import EMBEDDED_MODEL, ModelConfig
from models_under_pressure.activations.embedded import from_transformers, quiet
from models_under_pressure.activations.trust import explained
from models_under_pressure.core.errors import UserError, first_line
from models_under_pressure.core.files import is_object, read_json

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_TOKENIZER = ("tokenizer_config.json", "tokenizer.json", "special_tokens_map.json", "chat_template.jinja")
_KINDS = ("LORA", "IA3", "LOHA", "LOKR")
"""Kinds of adapter that are a change of weights, and are tested here."""
_ODD = ("megatron_config", "layer_replication", "alora_invocation_tokens", "arrow_config", "velora_config")
"""Settings that import a library by name, change the number of blocks, or act on some tokens only."""


def found_file(config: ModelConfig, name: str) -> Path | None:
    """A file of a model's folder or repository, downloaded where need be; None if it has none of that name.

    Raises:
        UserError: there is no such repository, or it is gated.
    """
    place = Path(config.name).expanduser()
    if place.is_dir():
        return place / name if (place / name).is_file() else None
    with explained(config):
        found = from_transformers("utils").cached_file(
            config.name, name, revision=config.revision, _raise_exceptions_for_missing_entries=False
        )
    return None if found is None else Path(found)


def with_base(config: ModelConfig) -> ModelConfig:
    """A model named by its adapter alone, as the base that the adapter's config names, and the adapter.

    That base is the adapter's word, so none of its code runs whatever the user said of the adapter.

    Raises:
        UserError: the adapter does not say what it is added to.
    """
    if config.adapter is not None or config.name == EMBEDDED_MODEL or found_file(config, "config.json"):
        return config
    path = found_file(config, CONFIG)
    if path is None:
        return config
    base, revision = (_settings(path, config.name).get(name) for name in ("base_model_name_or_path", "revision"))
    if not isinstance(base, str) or not base:
        remedy = "name the model with --model (`model.name`) and this folder with --adapter (`model.adapter`)."
        raise UserError("the adapter does not say which model it is added to.", where=config.name, remedy=remedy)
    return config.model_copy(
        update={
            "name": base,
            "revision": revision if isinstance(revision, str) else None,
            "adapter": config.name,
            "adapter_revision": config.revision,
            "trust_remote_code": False,
        }
    )


def adapter_folder(config: ModelConfig) -> Path:
    """The folder of a model's adapter, on this machine and checked.

    Raises:
        UserError: it is missing, pickled, of a kind that is no change of weights, or comes with code.
    """
    own = ModelConfig(name=str(config.adapter), revision=config.adapter_revision)
    path = found_file(own, CONFIG)
    if path is None:
        remedy = "name the folder or repository that `save_pretrained` of PEFT wrote."
        raise UserError(f"holds no {CONFIG}.", where=own.name, remedy=remedy)
    settings = _settings(path, own.name)
    kind = settings.get("peft_type")
    if kind not in _KINDS:
        remedy = f"use an adapter of the kinds {', '.join(_KINDS)}, or a model that it is merged into."
        raise UserError(f"the adapter is of the kind {kind!r}.", where=own.name, remedy=remedy)
    if odd := [name for name in _ODD if settings.get(name)]:
        remedy = "use an adapter that only changes weights, or a model that it is merged into."
        raise UserError(f"the adapter asks for `{odd[0]}`.", where=own.name, remedy=remedy)
    if found_file(own, WEIGHTS) is None:
        remedy = "take it from its authors as safetensors, or load it with PEFT where you trust it and save it again."
        raise UserError(f"the adapter has no {WEIGHTS}; pickled weights are not read.", where=own.name, remedy=remedy)
    tokenizer = [found_file(own, name) for name in _TOKENIZER]
    if tokenizer[0] is not None and "auto_map" in _settings(tokenizer[0], own.name):
        remedy = "take the tokenizer's files out of the adapter's folder: the model's own is used then."
        raise UserError("the adapter contains code of its own; not run.", where=own.name, remedy=remedy)
    return path.parent


def add_adapter(model: Any, folder: Path, *, blocks: int, merge: bool) -> None:
    """Change a model in place by an adapter, as PEFT does.

    The names in an adapter begin at the model with its head or at the decoder, whichever it was trained on. A decoder
    without its head gets a shell of the same name around it, so that patterns of names mean what they meant.

    Args:
        model: a decoder, or one with its head.
        folder: from `adapter_folder`.
        blocks: decoder blocks that are loaded; what the adapter holds for later ones is left.
        merge: whether it is added to the weights; else it is computed beside them, as rounded weights need it.

    Raises:
        UserError: the adapter is damaged, made by a later PEFT, or for another model.
    """
    from torch import nn

    safetensors: Any = import_module("safetensors")
    remedy = "use it with the model that it was trained on, or fetch it again."
    try:
        with safetensors.safe_open(folder / WEIGHTS, "pt") as file:
            names = set[str](file.keys())
        prefix = model.base_model_prefix
        with_head = any(name.startswith(f"base_model.model.{prefix}.") for name in names)
        host = model
        if with_head and not hasattr(model, prefix):
            host = nn.Module()
            host.add_module(prefix, model)
            for name in ("config", "is_loaded_in_8bit", "is_loaded_in_4bit"):
                if hasattr(model, name):
                    setattr(host, name, getattr(model, name))
        elif not with_head and hasattr(model, prefix):
            host = getattr(model, prefix)
        found = _wrapped(host, folder)
    except (MemoryError, OSError):
        raise  # no fault of the adapter
    except Exception as error:  # PEFT raises what the damage makes it trip over
        problem = f"the adapter cannot be added to this model ({first_line(error)})."
        raise UserError(problem, where=str(folder), remedy=remedy) from None
    taken = _names_in(found)
    if unused := sorted(name for name in names - taken if (block := _block(name)) is not None and block < blocks):
        problem = f"{len(unused)} weights of the adapter have no place in this model, first {unused[0]}."
        raise UserError(problem, where=str(folder), remedy=remedy)
    if missing := sorted(taken - names):
        problem = f"the adapter's file lacks {len(missing)} of its weights, first {missing[0]}."
        raise UserError(problem, where=str(folder), remedy=remedy)
    if merge:
        found.merge_and_unload(safe_merge=True)


def _wrapped(host: Any, folder: Path) -> Any:
    peft: Any = import_module("peft")
    with warnings.catch_warnings(), quiet():
        warnings.simplefilter("error")  # a setting that this PEFT does not know would be dropped with a warning
        config = peft.PeftConfig.from_pretrained(str(folder))
    config.task_type = None  # the plain wrapper: no head, no generation
    with warnings.catch_warnings(), quiet():
        warnings.simplefilter("ignore")  # missing names are looked for by `add_adapter`
        return peft.PeftModel.from_pretrained(host, str(folder), config=config, torch_device="cpu")


def _names_in(found: Any) -> set[str]:
    peft: Any = import_module("peft")
    return set(peft.get_peft_model_state_dict(found, save_embedding_layers=False))


def _block(name: str) -> int | None:
    """Number of the decoder block that a weight is part of."""
    number = re.search(r"\.(\d+)\.", name)
    return None if number is None else int(number[1])


def _settings(path: Path, where: str) -> dict[str, Any]:
    found = read_json(path)
    if not is_object(found):
        raise UserError(f"{path.name} is no object.", where=where, remedy="fetch the adapter again.")
    return dict(found)
