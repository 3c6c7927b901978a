"""Loading a decoder model and its tokenizer."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from models_under_pressure.activations.adapters import adapter_folder, add_adapter, with_base
from models_under_pressure.activations.blocks import blocks_of, check_layers, decoder_of, keep_blocks
from models_under_pressure.activations.config import (
    EMBEDDED_MODEL,
    LoadedModel,
    ModelConfig,
    ModelDescription,
    resolve_device,
    resolve_dtype,
)
from models_under_pressure.activations.embedded import embedded_model, embedded_revision, from_transformers
from models_under_pressure.activations.trust import check_complete, check_config, check_weights, explained
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import is_object, stable_hash

_SAMPLES = 64
_SAMPLE_BYTES = 1 << 16


def directory_fingerprint(directory: Path) -> str:
    """Short hash of a local model: its JSON files whole, of its weight files the sizes and 64 evenly spaced samples.

    Hashing 140 GB of weights would take longer than extracting a dataset.
    """
    parts: list[list[str | int]] = []
    for path in sorted(directory.iterdir()):
        if path.is_file() and path.suffix in {".json", ".jinja", ".safetensors", ".bin", ".model"}:
            parts.append([path.name, path.stat().st_size, _sampled_hash(path)])
    return stable_hash(parts)[:16]


def _sampled_hash(path: Path) -> str:
    size = path.stat().st_size
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        if size <= _SAMPLES * _SAMPLE_BYTES:
            digest.update(stream.read())
        else:
            for index in range(_SAMPLES):
                stream.seek((size - _SAMPLE_BYTES) * index // (_SAMPLES - 1))
                digest.update(stream.read(_SAMPLE_BYTES))
    return digest.hexdigest()


def tokenizer_fingerprint(tokenizer: Any) -> str:
    """Short hash of everything that a fast tokenizer does to a text."""
    return stable_hash(tokenizer.backend_tokenizer.to_str())[:16]


PACKAGE = Path(__file__).parents[1]


def code_fingerprint(package: Path = PACKAGE) -> str:
    """Short hash of the code that turns records into activations."""
    return source_hash(package / "activations", package / "core" / "records.py")[:16]


def source_hash(*places: Path) -> str:
    """Hash of Python files: those given, and all in the folders given, however deep.

    Raises:
        FileNotFoundError: a folder holds none, or a file is missing; a hash of nothing would never change.
    """
    sources: list[tuple[str, str]] = []
    for place in places:
        found = sorted(place.rglob("*.py")) if place.is_dir() else [place]
        if not found:
            raise FileNotFoundError(place)
        sources += [(path.relative_to(place.parent).as_posix(), path.read_text("utf-8")) for path in found]
    return stable_hash(sources)


def library_versions() -> dict[str, str]:
    """Versions of the libraries that shape the numbers."""
    return {name: version(name) for name in ("torch", "transformers", "tokenizers")}


def model_of(attributes: Mapping[str, Any], *, device: str = "auto", trust_remote_code: bool = False) -> ModelConfig:
    """The model that made activations, by their attributes: at its revision, in its precision.

    Whether its own code may run is the caller's word, never theirs.

    Raises:
        UserError: they name no model, or no precision that there is.
    """

    def commit(name: str) -> str | None:
        # a local model has a fingerprint, which names no commit; the loaded model's is compared with it
        found = str(attributes.get(name))
        return found if re.fullmatch(r"[0-9a-f]{40}", found) else None

    quantization = attributes.get("quantization", "none")
    try:
        return ModelConfig(
            name=attributes["model"],
            revision=commit("revision"),
            adapter=attributes.get("adapter"),
            adapter_revision=commit("adapter_revision"),
            dtype=attributes.get("compute_dtype", "auto"),
            # `gptq-4bit` and the like are the checkpoint's own
            quantization="none" if "-" in str(quantization) else quantization,
            device=device,
            trust_remote_code=trust_remote_code,
        )
    except (KeyError, ValidationError) as error:
        named = ("model", "compute_dtype", "quantization")
        raise UserError(
            f"no model is described by { ({name: attributes.get(name) for name in named}) }.",
            remedy="restore the description of the probe or store, or make it anew.",
        ) from error


def read_config(config: ModelConfig) -> Any:
    """Read a model's Hugging Face config, but neither tokenizer nor weights.

    Raises:
        UserError: see `trust.explained`.
    """
    config = with_base(config)
    source = _source(config)
    with explained(config):
        settings = from_transformers("AutoConfig").from_pretrained(
            source, revision=config.revision, trust_remote_code=config.trust_remote_code
        )
    check_config(config, settings)
    return settings


def describe_model(config: ModelConfig) -> ModelDescription:
    """Read a model's config and tokenizer, but not its weights.

    Raises:
        UserError: see `trust.explained`.
    """
    return _describe(config)[0]


def load_model(config: ModelConfig, *, layers: Sequence[int] | None = None) -> LoadedModel:
    """Load a model for extraction.

    Args:
        config: which model, and how its weights are held.
        layers: load only the blocks that these layers need (32 of 80 for layer 31 of a 70B model); None loads all.

    Raises:
        UserError: the model is not found, gated, or has no such layer.
    """
    description, settings = _describe(config)
    if layers is not None:
        numbers = check_layers(layers, description.n_layers, description.name)
        keep_blocks(settings, max(numbers) + 1)
    decoder = decoder_of(_load("AutoModel", description, settings))
    blocks_of(decoder)
    return LoadedModel(**vars(description), model=decoder)


def load_language_model(config: ModelConfig) -> LoadedModel:
    """Load a whole model with the head that predicts tokens.

    Raises:
        UserError: the model is not found, or gated.
    """
    description, settings = _describe(config)
    return LoadedModel(**vars(description), model=_load("AutoModelForCausalLM", description, settings))


def _load(kind: str, description: ModelDescription, settings: Any) -> Any:
    config = description.config
    source = _source(config)
    check_weights(config, source)
    with explained(config):
        model, found = from_transformers(kind).from_pretrained(
            source,
            config=settings,
            dtype=resolve_dtype(config),
            revision=config.revision,
            trust_remote_code=config.trust_remote_code,
            use_safetensors=True,
            output_loading_info=True,
            **_placement(config),
        )
    check_complete(config, found)
    if config.adapter is not None:
        blocks = settings.get_text_config().num_hidden_layers
        add_adapter(model, adapter_folder(config), blocks=blocks, merge=description.quantization == "none")
    return model.eval()


def _describe(config: ModelConfig) -> tuple[ModelDescription, Any]:
    config = with_base(config)
    source = _source(config)
    settings = read_config(config)
    adapter = None if config.adapter is None else adapter_folder(config)
    with explained(config):
        text = settings.get_text_config()
        n_layers, hidden = int(text.num_hidden_layers), int(text.hidden_size)
    description = ModelDescription(
        tokenizer=_tokenizer(config, source, adapter, int(text.vocab_size)),
        config=config,
        name=config.name,
        revision=_revision(config, source) or str(settings._commit_hash or config.revision),
        n_layers=n_layers,
        hidden=hidden,
        dtype=str(resolve_dtype(config)).removeprefix("torch."),
        device=resolve_device(config.device).partition(":")[0],
        quantization=_quantization(config, settings),
        adapter=config.adapter,
        adapter_revision=None if adapter is None else _adapter_revision(config, adapter),
    )
    return description, settings


def _tokenizer(config: ModelConfig, source: str, adapter: Path | None, embeddings: int) -> Any:
    """The tokenizer that lies beside the adapter, which may have changed the chat template; else the model's own."""
    load: Any = from_transformers("AutoTokenizer").from_pretrained
    if adapter is None or not (adapter / "tokenizer_config.json").is_file():
        with explained(config):
            return load(source, revision=config.revision, trust_remote_code=config.trust_remote_code)
    with explained(config):
        found = load(str(adapter), trust_remote_code=False)
    if len(found) > embeddings:
        problem = f"the adapter's tokenizer has {len(found)} tokens, and the model embeds {embeddings}."
        remedy = "merge both with PEFT's `merge_and_unload`, save the result, and name that."
        raise UserError(problem, where=str(config.adapter), remedy=remedy)
    return found


def _adapter_revision(config: ModelConfig, adapter: Path) -> str:
    is_local = Path(str(config.adapter)).expanduser().is_dir()
    # a repository's files lie in a folder named by their commit
    return directory_fingerprint(adapter) if is_local else adapter.name


def _quantization(config: ModelConfig, settings: Any) -> str:
    """How the weights are rounded, by the user's word or by the checkpoint's own config.

    Raises:
        UserError: both say so.
    """
    own = getattr(settings, "quantization_config", None)
    if own is None:
        return config.quantization
    told: dict[str, Any] = own if is_object(own) else own.to_dict()
    method = told.get("quant_method") or "bitsandbytes"
    method = str(getattr(method, "value", method))
    is_wide = {"load_in_4bit": "4", "load_in_8bit": "8"}
    width = next((bits for name, bits in is_wide.items() if told.get(name)), told.get("bits"))
    found = f"{method}-{width}bit" if width else f"{method}-quantised"
    if config.quantization != "none":
        remedy = "leave `quantization` out, or name the checkpoint that is not quantised."
        raise UserError(f"the model comes quantised already ({found}).", where=config.name, remedy=remedy)
    return found


def layer_numbers(config: ModelConfig, layers: Sequence[int]) -> list[int]:
    """The layers of a model by their own numbers: see `blocks.check_layers`; its config is read for negative ones only.

    Raises:
        UserError: the model is not found, or has no such layer.
    """
    if min(layers, default=0) >= 0:
        return list(layers)
    return check_layers(layers, int(read_config(config).get_text_config().num_hidden_layers), config.name)


def _source(config: ModelConfig) -> str:
    """Place of the files: a local directory, or the id of a repository."""
    if config.name == EMBEDDED_MODEL:
        return str(embedded_model())
    path = Path(config.name).expanduser()
    return str(path) if path.is_dir() else config.name


def _revision(config: ModelConfig, source: str) -> str | None:
    if config.name == EMBEDDED_MODEL:
        return embedded_revision(Path(source))
    return directory_fingerprint(Path(source)) if Path(source).is_dir() else None


def _placement(config: ModelConfig) -> dict[str, Any]:
    device = resolve_device(config.device)
    placement: dict[str, Any] = {"device_map": "auto" if config.device == "auto" and device == "cuda" else device}
    if config.quantization != "none":
        wide = config.quantization == "8bit"
        placement["quantization_config"] = from_transformers("BitsAndBytesConfig")(
            load_in_8bit=wide,
            load_in_4bit=not wide,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_compute_dtype=resolve_dtype(config),
        )
    return placement
