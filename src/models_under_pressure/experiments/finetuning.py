"""How many training prompts a finetuned model needs (McKenzie et al. 2025, figure 4b)."""

from collections.abc import Sequence
from dataclasses import replace

from models_under_pressure.baselines.data import LabelledRecords
from models_under_pressure.baselines.finetuned.classifier import make_classifier
from models_under_pressure.baselines.finetuned.config import FinetuneConfig
from models_under_pressure.baselines.finetuned.data import tokenised_split
from models_under_pressure.baselines.finetuned.reading import freeze_states, score
from models_under_pressure.baselines.finetuned.training import train as train_classifier
from models_under_pressure.experiments.data_efficiency import means
from models_under_pressure.experiments.labelled_set import check_unseen
from models_under_pressure.experiments.samples import generator_of, largest_sample, nested_samples
from models_under_pressure.experiments.scoring import Logits, Row, auroc_row


def measure_finetuning(
    name: str,
    config: FinetuneConfig,
    train: LabelledRecords,
    validation: LabelledRecords,
    tested: Sequence[LabelledRecords],
    *,
    sizes: Sequence[int],
    repeats: int,
    seed: int,
    confidence: float = 0.95,
    token: str | None = None,
) -> list[Row]:
    """Finetune a model on the samples of training prompts that `measure_data_efficiency` gives to probes.

    `config.train_rows` and `config.validation_rows` have no say: samples are given, and the validation set is whole.

    Returns:
        Rows as those of `measure_data_efficiency`, of the method `name` and the kind `finetuned`.

    Raises:
        UserError: a tested conversation is among the training records; or see `make_classifier` and `train`.
    """
    for one in tested:
        check_unseen([train, validation], one)
    every = [*sizes, largest_sample(train.labels)]
    found: dict[tuple[str, int], Logits] = {}
    frozen = None
    for repeat in range(repeats):
        samples = nested_samples(train.labels, every, generator_of(seed, repeat, train.name))
        for size, rows in samples.items():
            classifier = make_classifier(config, seed=seed + repeat, token=token)
            whole, held_out, *others = (
                tokenised_split(one, classifier.loaded, config) for one in (train, validation, *tested)
            )
            if config.keep_states and frozen is None:  # of the blocks that no run changes
                records = [record for split in (whole, held_out, *others) for record in split.records]
                frozen = freeze_states(classifier, records, batch_tokens=config.batch_tokens)
            sample = replace(whole, records=tuple(whole.records[row] for row in rows), labels=whole.labels[rows])
            train_classifier(classifier, sample, held_out, config=config, seed=seed + repeat, frozen=frozen)
            for one, split in zip(tested, others, strict=True):
                logits = score(classifier, split.records, batch_tokens=config.batch_tokens, frozen=frozen)
                found[one.name, size] = [*found.get((one.name, size), ()), logits]
    by_name = {one.name: one for one in tested}
    rows = [
        {"dataset": dataset, "method": name, "kind": "finetuned", "size": size, "repeats": repeats}
        | auroc_row(logits, by_name[dataset], confidence=confidence)
        for (dataset, size), logits in found.items()
    ]
    return [*rows, *means(rows)]
