"""One finetuned model from labelled conversations: the order of the work, and what is known of it afterwards."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from models_under_pressure.activations.chat import ChatTemplate
from models_under_pressure.activations.config import ModelConfig
from models_under_pressure.activations.flops import (
    Architecture,
    forward_flops,
    read_architecture,
    training_step_flops,
)
from models_under_pressure.activations.model import library_versions, tokenizer_fingerprint
from models_under_pressure.baselines.data import LabelledRecords, to_scores
from models_under_pressure.baselines.finetuned.checkpoint import checkpoints_of
from models_under_pressure.baselines.finetuned.classifier import Classifier, make_classifier
from models_under_pressure.baselines.finetuned.config import FinetuneConfig, Split, draw_groups, tokenised_split
from models_under_pressure.baselines.finetuned.persistence import load_finetuned, save_finetuned
from models_under_pressure.baselines.finetuned.reading import score
from models_under_pressure.baselines.finetuned.training import Trained, Watch, train
from models_under_pressure.core.files import stable_hash
from models_under_pressure.core.records import content_hash
from models_under_pressure.evaluation.scores import ScoreList

_REVISION = 1
"""Raised when the same settings come to train otherwise: older checkpoints are then left alone."""
_MATTERS_NOT = {"seeds", "checkpoint_minutes"}


@dataclass(frozen=True)
class Cost:
    """What a training run took."""

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
        data: to fit, of which `config.train_rows` are drawn.
        validation: to choose the epoch, of which `config.validation_rows` are drawn.
        config: the model and the hyper-parameters.
        seed: of the draws, the fresh weights, the order and dropout.
        checkpoints: folder of all runs' checkpoints.
        watch: told every epoch when it ends.

    Raises:
        UserError: see `make_classifier`, `tokenised_split`, `checkpoints_of` and `train`.
    """
    drawn = draw_groups(data, config.train_rows, seed=seed)
    held_out = draw_groups(validation, config.validation_rows, seed=seed)
    classifier = make_classifier(config, seed=seed)
    splits = [tokenised_split(one, classifier.loaded, config) for one in (drawn, held_out)]
    with checkpoints_of(run_key(classifier, drawn, held_out, config=config, seed=seed), checkpoints) as kept:
        trained = train(classifier, *splits, config=config, seed=seed, checkpoints=kept, watch=watch)
        cost = _cost(trained, *splits, config=config)
        save_finetuned(
            classifier, trained, directory, config=config, seed=seed, training=_account(cost, trained, *splits)
        )
        kept.remove()
    return cost


def run_key(
    classifier: Classifier, data: LabelledRecords, validation: LabelledRecords, *, config: FinetuneConfig, seed: int
) -> str:
    """Hash of all that shapes a run: two runs of one key would train the same model."""
    loaded = classifier.loaded
    identity: Mapping[str, Any] = {
        "revision_of_training": _REVISION,
        "config": config.model_dump(mode="json", exclude=_MATTERS_NOT),
        "seed": seed,
        "precision": classifier.precision,
        "device": loaded.device,
        "model": loaded.revision,
        "template": ChatTemplate(loaded.tokenizer, loaded.name).hash,
        "tokenizer": tokenizer_fingerprint(loaded.tokenizer),
        "data": [[content_hash(one.records), one.labels.tolist()] for one in (data, validation)],
        "libraries": library_versions() | {name: version(name) for name in ("peft", "bitsandbytes")},
    }
    return stable_hash(identity)[:24]


def architecture_of(config: FinetuneConfig) -> Architecture:
    """The architecture of the model that is finetuned.

    Raises:
        UserError: see `read_architecture`.
    """
    return read_architecture(ModelConfig(name=config.model, revision=config.revision))


def _cost(trained: Trained, data: Split, validation: Split, *, config: FinetuneConfig) -> Cost:
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


def _account(cost: Cost, trained: Trained, data: Split, validation: Split) -> dict[str, Any]:
    """What the training took and what was done to its records; no times, which differ from run to run."""
    return {
        "epochs": len(trained.history),
        "tokens": cost.tokens,
        "flops": cost.flops,
        "records": {"train": len(data.records), "validation": len(validation.records)},
        "truncated": {"train": len(data.report.truncated), "validation": len(validation.report.truncated)},
        "normalised": {"train": data.report.normalised, "validation": validation.report.normalised},
    }


_CLASSES = 2


class Monitor:
    """A finetuned model, loaded once for many datasets.

    Raises:
        UserError: see `load_finetuned`.
    """

    def __init__(self, directory: Path) -> None:
        self._classifier, self._description = load_finetuned(directory)
        self._architecture = architecture_of(self._description.config)

    def score(self, data: LabelledRecords, name: str) -> ScoreList:
        """Score labelled records under a name; each record's score is the same in any company.

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
