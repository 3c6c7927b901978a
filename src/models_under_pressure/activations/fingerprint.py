"""Fingerprints of local models, tokenizers and libraries: what an activation depends on."""

import hashlib
from importlib.metadata import version
from pathlib import Path
from typing import Any

from models_under_pressure.core.files import stable_hash

_SAMPLES = 64
_SAMPLE_BYTES = 1 << 16


def directory_fingerprint(directory: Path) -> str:
    """Short hash of a local model: its JSON files whole, of its weight files the sizes and 64 evenly spaced samples.

    Hashing 140 GB of weights would take longer than extracting a dataset.
    """
    parts = []
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


def code_fingerprint() -> str:
    """Short hash of the code that turns records into activations."""
    room = Path(__file__).parent
    return stable_hash(
        [path.read_text("utf-8") for path in [*sorted(room.rglob("*.py")), room.parent / "core/records.py"]]
    )[:16]


def library_versions() -> dict[str, str]:
    """Versions of the libraries that shape the numbers."""
    return {name: version(name) for name in ("torch", "transformers", "tokenizers")}
