"""Finetuned models on disk: the trained weights as safetensors, all else as JSON; never unpickled."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from models_under_pressure.activations.chat import ChatTemplate
from models_under_pressure.activations.model import tokenizer_fingerprint
from models_under_pressure.baselines.finetuned.classifier import Classifier, Precision, make_classifier
from models_under_pressure.baselines.finetuned.config import FinetuneConfig
from models_under_pressure.baselines.finetuned.training import Epoch, Trained
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import atomic_path, check_weights, file_hash, write_json
from models_under_pressure.core.files import read_description as read_saved

WEIGHTS, DESCRIPTION = "weights.safetensors", "finetuned.json"
FORMAT = 1
"""Version of the layout; a reader refuses others."""


class Description(BaseModel):
    """All of a finetuned model but its weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int
    weights_sha256: str
    config: FinetuneConfig
    seed: int
    precision: Precision
    """What `config.precision` meant where the model was trained."""
    revision: str
    """Commit or fingerprint of the model that was trained further."""
    template_hash: str
    tokenizer: str
    best_epoch: int
    history: tuple[dict[str, Any], ...]
    training: dict[str, Any]
    """Records, tokens and operations that the training took, and what was cut."""


def save_finetuned(
    classifier: Classifier,
    trained: Trained,
    directory: Path,
    *,
    config: FinetuneConfig,
    seed: int,
    training: dict[str, Any],
) -> None:
    """Write a finetuned model's files; the description last."""
    from safetensors.torch import save_file

    tensors = {name: weight.detach().cpu().contiguous() for name, weight in classifier.trained.items()}
    with atomic_path(directory / WEIGHTS) as temporary:
        save_file(tensors, temporary)
    loaded = classifier.loaded
    description = Description(
        format=FORMAT,
        weights_sha256=file_hash(directory / WEIGHTS),
        config=config,
        seed=seed,
        precision=classifier.precision,
        revision=loaded.revision,
        template_hash=ChatTemplate(loaded.tokenizer, loaded.name).hash,
        tokenizer=tokenizer_fingerprint(loaded.tokenizer),
        best_epoch=trained.best.number,
        history=tuple(_rounded(epoch) for epoch in trained.history),
        training=training,
    )
    write_json(directory / DESCRIPTION, description.model_dump(mode="json"))


def load_finetuned(directory: Path) -> tuple[Classifier, Description]:
    """Load the model it was made from, and put the trained weights into it.

    Raises:
        UserError: a file is missing or damaged, the format is not known, or the model, its chat template or its
            tokenizer is not the one that was trained.
    """
    description = read_description(directory)
    tensors = _read_weights(directory / WEIGHTS, description.weights_sha256)
    config = description.config.model_copy(update={"precision": description.precision})
    classifier = make_classifier(config, seed=description.seed)
    loaded = classifier.loaded
    found = {
        "revision": loaded.revision,
        "template_hash": ChatTemplate(loaded.tokenizer, loaded.name).hash,
        "tokenizer": tokenizer_fingerprint(loaded.tokenizer),
    }
    differing = [name for name, value in found.items() if value != getattr(description, name)]
    if differing or set(tensors) != set(classifier.trained):
        raise UserError(
            f"{config.model} is not what was finetuned ({', '.join(differing) or 'names of weights'} differ).",
            where=str(directory),
            remedy="name the trained model's `revision`, or finetune again.",
        )
    classifier.put(tensors)
    return classifier, description


def read_description(directory: Path) -> Description:
    """Read what is known of a finetuned model without its weights.

    Raises:
        UserError: the file is missing or damaged, or of a format that this code does not read.
    """
    path = directory / DESCRIPTION
    return read_saved(path, Description, version=FORMAT, what="finetuned model", remedy="finetune again")


def _read_weights(path: Path, sha256: str) -> dict[str, Any]:
    from safetensors.torch import load_file

    check_weights(path, sha256, what="model", remedy="finetune again")
    return load_file(path)


def _rounded(epoch: Epoch) -> dict[str, Any]:
    return {name: round(value, 6) for name, value in asdict(epoch).items()}
