"""The training set: generate, label, select, and report what was left out at each step."""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.records import Record
from models_under_pressure.llm.ask import Asker, Failure
from models_under_pressure.synthesis.confounders import ATTRIBUTES
from models_under_pressure.synthesis.generate import (
    ORIGINAL,
    VARIANTS,
    Written,
    annotate,
    generate,
    rewrite,
)
from models_under_pressure.synthesis.questions import Rewriting, Writer
from models_under_pressure.synthesis.sampling import Vocabulary
from models_under_pressure.synthesis.selection import (
    SPLITS,
    SynthesisConfig,
    check_plan,
    draw_rows,
    drop_repeats,
    keep_agreeing_pairs,
    keep_least_telling,
)

Labeller = Callable[[Sequence[Record]], tuple[Sequence[Record], Sequence[Failure]]]
"""Gives records their labels; those without an answer are left out, and their failures given beside."""


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """The training prompts, and how they came about."""

    records: Sequence[Record]
    """Both splits, sorted by id."""
    unfiltered: Sequence[Record]
    """Records before the word filter."""
    report: dict[str, Any]
    """Counts of rows, and everything left out with the reason."""


def assemble(
    config: SynthesisConfig, vocabulary: Vocabulary, how: Writer, *, ask: Asker, label: Labeller, seed: int
) -> TrainingSet:
    """Make the training set.

    Rewritten copies are made of pairs whose labels agree, so that nothing is paid for pairs that are dropped.

    Raises:
        UserError: a split would be empty, or has fewer rows than `config.rows` asks for; before anything is asked if
            the number of situations already shows it.
    """
    check_plan(config, vocabulary, seed=seed)
    making = _Making(label)
    generated = generate(config, vocabulary, how, ask=ask, seed=seed)
    originals = making.labelled(generated, ORIGINAL, known=())
    copies: list[Record] = []
    shares: dict[Rewriting, float] = {"neutralise": config.neutralise, "manipulate": config.manipulate}
    for rewriting, share in shares.items():
        if share:
            rewritten = rewrite(originals, rewriting, share=share, how=how, ask=ask, seed=seed)
            copies += making.labelled(rewritten, VARIANTS[rewriting], known=[*originals, *copies])
    unfiltered = [*originals, *copies]
    _check_splits(unfiltered, config)
    filtered = keep_least_telling(unfiltered, config.word_filter, seed=seed)
    records = filtered.records
    if config.rows is not None:
        records = draw_rows(records, rows=config.rows, test_fraction=config.test_fraction, seed=seed).records
    if config.annotate:
        annotated = annotate(records, how, ask=ask)
        making.failures += annotated.failures
        records = annotated.records
    report = {
        "prompts_written": len(generated.records),
        **making.lost(),
        "pairs_filtered": [{"pair_id": pair, "reason": reason} for pair, reason in filtered.dropped],
        "rows_not_drawn": len(filtered.records) - len(records),
        **_counts(records),
    }
    return TrainingSet(sorted(records, key=lambda record: record.id), unfiltered, report)


@dataclass(slots=True)
class _Making:
    """Pairs and questions left out so far."""

    label: Labeller
    dropped: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    refused: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    failures: list[Failure] = field(default_factory=list[Failure])

    def labelled(self, written: Written, variant: str, *, known: Collection[Record]) -> Sequence[Record]:
        """What was written, without repeats and the pairs whose labels do not agree."""
        new = drop_repeats(written.records, known=known)
        labelled, failures = self.label(new.records)
        agreeing = keep_agreeing_pairs(labelled)
        self.refused[variant] = sorted(written.refused)
        self.failures += [*written.failures, *failures]
        self.dropped += [*new.dropped, *agreeing.dropped]
        return agreeing.records

    def lost(self) -> dict[str, Any]:
        """All that was left out, as JSON values."""
        return {
            "pairs_refused": self.refused,
            "pairs_dropped": [{"pair_id": pair, "reason": reason} for pair, reason in sorted(self.dropped)],
            "questions_without_answer": [
                {"record_id": failure.record_id, "kind": failure.kind}
                for failure in sorted(self.failures, key=lambda failure: (failure.record_id, failure.kind))
            ],
        }


def _check_splits(records: Sequence[Record], config: SynthesisConfig) -> None:
    situations = {
        split: {record.fields["situation_id"] for record in records if record.fields["split"] == split}
        for split in SPLITS
    }
    where = "params.yaml: synthesise"
    for split in SPLITS:
        if not situations[split]:
            remedy = "raise `situations`, and see data/replies for what the model wrote."
            raise UserError(f"the {split} split has no rows: none of its pairs is left.", where=where, remedy=remedy)
    if config.word_filter.keep < 1 and len(situations["train"]) < 2:
        problem = "the train split has one situation, but the word filter learns from others than it judges."
        raise UserError(problem, where=where, remedy="raise `situations`, or set word_filter.keep to 1.")


def _counts(records: Sequence[Record]) -> dict[str, Any]:
    by_split = Counter(str(record.fields["split"]) for record in records)
    attributes = {
        name: dict(Counter(str(record.fields[name]) for record in records).most_common()) for name in ATTRIBUTES
    }
    return {"rows": {split: by_split[split] for split in SPLITS}, "rows_with": attributes}
