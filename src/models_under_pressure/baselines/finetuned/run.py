"""One finetuned model from labelled conversations: its training, its files, the scores that it gives.

On disk the trained weights are safetensors, and all else is JSON; nothing is unpickled.
"""

from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from models_under_pressure.activations.chat import ChatTemplate
from models_under_pressure.activations.config import LoadedModel, ModelConfig
from models_under_pressure.activations.flops import (
    Architecture,
    forward_flops,
    read_architecture,
    training_step_flops,
)
from models_under_pressure.activations.model import library_versions, tokenizer_fingerprint
from models_under_pressure.baselines.data import LabelledRecords, to_scores
from models_under_pressure.baselines.finetuned.checkpoint import checkpoints_of, read_tensors, tensor_files
from models_under_pressure.baselines.finetuned.classifier import Classifier, Precision, make_classifier
from models_under_pressure.baselines.finetuned.config import FinetuneConfig
from models_under_pressure.baselines.finetuned.reading import Split, score, tokenised_split
from models_under_pressure.baselines.finetuned.training import Position, Watch, train
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import (
    Frozen,
    atomic_path,
    check_weights,
    file_hash,
    read_description,
    stable_hash,
    write_json,
)
from models_under_pressure.core.records import content_hash
from models_under_pressure.evaluation.scores import ScoreList

_REVISION = 1
"""Raised when the same settings come to train otherwise: older checkpoints are then left alone."""
_MATTERS_NOT = {"seeds", "checkpoint_minutes"}

_WEIGHTS, _DESCRIPTION = "weights.safetensors", "finetuned.json"
_FORMAT = 1
"""Version of the layout; a reader refuses others."""
_CLASSES = 2


class Description(Frozen):
    """All of a finetuned model but its weights."""

    format: int
    weights_sha256: str
    config: FinetuneConfig
    seed: int
    precision: Precision
    """Precision that `config.precision` meant where the model was trained."""
    revision: str
    """Commit or fingerprint of the model that was trained further."""
    template_hash: str
    tokenizer: str
    best_epoch: int
    history: tuple[dict[str, Any], ...]
    training: dict[str, Any]
    """Epochs, tokens and operations of the training, its records and what was cut; no times, which differ each run."""


@dataclass(frozen=True)
class Cost:
    """Time and work of a training run."""

    seconds: float
    tokens: int
    """Read in all epochs, validation included."""
    flops: int


def finetune(
    directory: Path,
    data: LabelledRecords,
    validation: LabelledRecords,
    *,
    config: FinetuneConfig,
    seed: int,
    checkpoints: Path,
    watch: Watch | None = None,
) -> Cost:
    """Finetune a model and save it; a run of the same settings and data that was killed goes on where it was.

    Args:
        directory: folder of the finished model.
        data: to fit.
        validation: to choose the epoch.
        config: the model and the hyper-parameters.
        seed: of the fresh weights, the order and dropout.
        checkpoints: folder of all runs' checkpoints.
        watch: told every epoch when it ends.

    Raises:
        UserError: see `make_classifier`, `tokenised_split`, `checkpoints_of` and `train`.
    """
    classifier = make_classifier(config, seed=seed)
    labelled = {"train": data, "validation": validation}
    split = {name: tokenised_split(one, classifier.loaded, config) for name, one in labelled.items()}
    with checkpoints_of(_run_key(classifier, data, validation, config=config, seed=seed), checkpoints) as kept:
        trained = train(classifier, *split.values(), config=config, seed=seed, checkpoints=kept, watch=watch)
        cost = _cost(trained, *split.values(), config=config)
        account: dict[str, Any] = {
            **{"epochs": len(trained.history), "tokens": cost.tokens, "flops": cost.flops},
            "records": {name: len(one.records) for name, one in split.items()},
            "truncated": {name: len(one.report.truncated) for name, one in split.items()},
            "normalised": {name: one.report.normalised for name, one in split.items()},
        }
        save_finetuned(classifier, trained, directory, config=config, seed=seed, training=account)
        kept.remove()
    return cost


class Monitor:
    """A finetuned model, loaded once for many datasets.

    Raises:
        UserError: see `load_finetuned`.
    """

    def __init__(self, directory: Path) -> None:
        self._classifier, self._description = load_finetuned(directory)
        self._architecture = architecture_of(self._description.config)

    def score(self, data: LabelledRecords, name: str) -> ScoreList:
        """Score labelled records under a name; in any batches (see docs/finetuned.md).

        The cost of a record is the model's forward pass and the head; adapters are too small to count.

        Raises:
            UserError: the chat template refuses a record, or a score is not finite.
        """
        config = self._description.config
        split = tokenised_split(data, self._classifier.loaded, config)
        logits = score(self._classifier, split.records, batch_tokens=config.batch_tokens)
        return to_scores(
            data,
            name,
            seed=self._description.seed,
            logits=logits,
            probabilities=np.exp(-np.logaddexp(0.0, -logits)),
            tokens=split.lengths,
            flops=forward_flops(self._architecture, split.lengths, layer=config.blocks)
            + 2 * _CLASSES * self._architecture.hidden,
        )


def save_finetuned(
    classifier: Classifier,
    trained: Position,
    directory: Path,
    *,
    config: FinetuneConfig,
    seed: int,
    training: dict[str, Any],
) -> None:
    """Write a finetuned model's files; the description last."""
    tensors = {name: weight.detach().cpu().contiguous() for name, weight in classifier.trained.items()}
    with atomic_path(directory / _WEIGHTS) as temporary:
        tensor_files().save_file(tensors, temporary)
    description = Description(
        format=_FORMAT,
        weights_sha256=file_hash(directory / _WEIGHTS),
        config=config,
        seed=seed,
        precision=classifier.precision,
        best_epoch=trained.best.number,
        history=tuple({name: round(value, 6) for name, value in asdict(one).items()} for one in trained.history),
        training=training,
        **_identity(classifier.loaded),
    )
    write_json(directory / _DESCRIPTION, description.model_dump(mode="json"))


def load_finetuned(directory: Path) -> tuple[Classifier, Description]:
    """Load the model it was made from, and put the trained weights into it.

    Raises:
        UserError: a file is missing or damaged, the format is not known, or the model, its chat template or its
            tokenizer is not the one that was trained.
    """
    mend, weights = "finetune again", directory / _WEIGHTS
    path = directory / _DESCRIPTION
    description = read_description(path, Description, version=_FORMAT, what="finetuned model", remedy=mend)
    check_weights(weights, description.weights_sha256, what="model", remedy=mend)
    tensors = read_tensors(weights, remedy=f"{mend}.")
    config = description.config.model_copy(update={"precision": description.precision})
    classifier = make_classifier(config, seed=description.seed)
    found = _identity(classifier.loaded)
    differing = [name for name, value in found.items() if value != getattr(description, name)]
    shapes = [{name: one.shape for name, one in each.items()} for each in (tensors, classifier.trained)]
    if differing or shapes[0] != shapes[1]:
        problem = f"{config.model} is not what was finetuned ({', '.join(differing) or 'its weights'} differ)."
        remedy = "name the trained model's `revision`, or finetune again."
        raise UserError(problem, where=str(directory), remedy=remedy)
    classifier.put(tensors)
    return classifier, description


def _run_key(
    classifier: Classifier, data: LabelledRecords, validation: LabelledRecords, *, config: FinetuneConfig, seed: int
) -> str:
    """Hash of all that shapes a run: two runs of one key would train the same model."""
    identity: dict[str, Any] = _identity(classifier.loaded) | {
        "revision_of_training": _REVISION,
        "config": config.model_dump(mode="json", exclude=_MATTERS_NOT),
        "seed": seed,
        "precision": classifier.precision,
        "device": classifier.loaded.device,
        "data": [[content_hash(one.records), one.labels.tolist()] for one in (data, validation)],
        "libraries": library_versions() | {name: version(name) for name in ("peft", "bitsandbytes")},
    }
    return stable_hash(identity)[:24]


def _identity(loaded: LoadedModel) -> dict[str, str]:
    """Fingerprints of a model that trained weights belong to."""
    return {
        "revision": loaded.revision,
        "template_hash": ChatTemplate(loaded.tokenizer, loaded.name).hash,
        "tokenizer": tokenizer_fingerprint(loaded.tokenizer),
    }


def architecture_of(config: FinetuneConfig) -> Architecture:
    """The architecture of the whole model that is finetuned, of which `config.blocks` are kept."""
    return read_architecture(ModelConfig(name=config.model, revision=config.revision))


def _cost(trained: Position, data: Split, validation: Split, *, config: FinetuneConfig) -> Cost:
    architecture = architecture_of(config)
    kept = config.blocks or len(architecture.blocks)
    first = kept - config.trained_blocks if config.trained_blocks else 0

    def forward(split: Split, layer: int) -> int:
        return int(forward_flops(architecture, split.lengths, layer=layer).sum())

    below = forward(data, first) + forward(validation, first)
    step = training_step_flops(
        forward(data, kept) - forward(data, first),
        trains="all" if config.method == "full" else "adapters",
        checkpointing=config.gradient_checkpointing,
    )
    check = forward(validation, kept) - forward(validation, first)
    epochs = len(trained.history)
    return Cost(
        seconds=trained.seconds,
        tokens=epochs * int(data.lengths.sum() + validation.lengths.sum()),
        flops=epochs * (int(step) + check) + (1 if config.keep_states else epochs) * below,
    )
