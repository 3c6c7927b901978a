"""Finetune models on more and more training prompts.

McKenzie et al. 2025, figure 4b.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int64
from pydantic import Field

from models_under_pressure.baselines.data import LabelledRecords, read_labelled
from models_under_pressure.baselines.finetuned.classifier import FrozenStates, make_classifier
from models_under_pressure.baselines.finetuned.config import FinetuneConfig
from models_under_pressure.baselines.finetuned.reading import freeze_states, score, tokenised_split
from models_under_pressure.baselines.finetuned.training import train as train_classifier
from models_under_pressure.core.files import write_jsonl
from models_under_pressure.core.paths import EXPERIMENT_RESULTS, datasets_in_use, finetuned_method
from models_under_pressure.core.section import EXPERIMENTS, Section, read
from models_under_pressure.evaluation.report import EvaluateConfig
from models_under_pressure.experiments.finetune_baseline import finetuned
from models_under_pressure.experiments.shared.rows import Logits, Row, size_rows
from models_under_pressure.experiments.shared.samples import check_unseen, generator_of, largest_sample, nested_samples


class MeasureFinetuning(Section):
    """How many training prompts finetuned models get."""

    models: tuple[str, ...]
    """Names of `finetune_baseline.models`; none leaves finetuned models out."""
    sizes: tuple[int, ...] = Field(min_length=1)
    """Sample sizes, as those of `measure_data_efficiency`."""
    repeats: int = Field(ge=1)
    """Runs with other prompts and another seed."""


def command() -> None:
    """Finetune models on more and more training prompts, and test on the dev sets.

    Example: mup measure_finetuning
    """
    config = read("measure_finetuning", MeasureFinetuning, EXPERIMENTS)
    sets = [read_labelled(one.name, one.path, one.classes) for one in datasets_in_use("train", "validation", "dev")]
    seed, confidence = read("seed", int), read("evaluate", EvaluateConfig).confidence
    rows: list[Row] = []
    for name, model in {name: finetuned(name) for name in config.models}.items():
        rows += run(finetuned_method(name), model, sets, config, seed=seed, confidence=confidence)
    write_jsonl(EXPERIMENT_RESULTS / "data_efficiency" / "finetuned.jsonl", rows)


def run(
    name: str,
    model: FinetuneConfig,
    sets: Sequence[LabelledRecords],
    config: MeasureFinetuning,
    *,
    seed: int,
    confidence: float = 0.95,
) -> list[Row]:
    """Finetune a model on the samples of training prompts that `measure_data_efficiency` gives to probes.

    `sets` are train, validation, and those to test on. The rows are as those of `measure_data_efficiency`, of the kind
    `finetuned`, their method is `name`.

    Raises:
        UserError: a tested conversation is among the training records; or see `make_classifier` and `train`.
    """
    train, validation, *tested = sets
    for one in tested:
        check_unseen([train, validation], one)
    trained = _Trained(model, sets)
    every = [*config.sizes, largest_sample(train.labels)]
    found: dict[tuple[str, str, int], Logits] = {}
    for repeat in range(config.repeats):
        for size, rows in nested_samples(train.labels, every, generator_of(seed, repeat, train.name)).items():
            for one, logits in zip(tested, trained.scores(rows, seed=seed + repeat), strict=True):
                found[one.name, name, size] = [*found.get((one.name, name, size), ()), logits]
    return size_rows(found, tested, kind="finetuned", confidence=confidence)


class _Trained:
    """Models finetuned on samples; what the blocks that no run changes make of a record is computed once."""

    def __init__(self, config: FinetuneConfig, sets: Sequence[LabelledRecords]) -> None:
        self._config, self._sets = config, sets
        self._frozen: FrozenStates | None = None

    def scores(self, rows: Int64[np.ndarray, "rows"], *, seed: int) -> Iterator[Float[np.ndarray, "records"]]:
        """Logits of each tested set by a model finetuned on these training records."""
        config = self._config
        classifier = make_classifier(config, seed=seed)
        splits = [tokenised_split(one, classifier.loaded, config) for one in self._sets]
        if config.keep_states and self._frozen is None:
            records = [record for split in splits for record in split.records]
            self._frozen = freeze_states(classifier, records, batch_tokens=config.batch_tokens)
        classifier = replace(classifier, frozen=self._frozen)
        whole, held_out, *tested = splits
        chosen: list[int] = rows.tolist()
        sample = replace(whole, records=tuple(whole.records[row] for row in chosen), labels=whole.labels[rows])
        train_classifier(classifier, sample, held_out, config=config, seed=seed)
        for split in tested:
            yield score(classifier, split.records, batch_tokens=config.batch_tokens)
