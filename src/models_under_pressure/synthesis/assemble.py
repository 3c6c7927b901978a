"""The training set: generate, label, select, and report what was left out at each step."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.records import Record
from models_under_pressure.llm.ask import Asker, Failure
from models_under_pressure.synthesis.confounders import ATTRIBUTES
from models_under_pressure.synthesis.generate import VARIANTS, Rewriting, annotate, generate, rewrite
from models_under_pressure.synthesis.sampling import Vocabulary
from models_under_pressure.synthesis.selection import (
    SPLITS,
    Selection,
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


@dataclass(slots=True)
class _Losses:
    """Pairs and questions left out so far."""

    dropped: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    refused: dict[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    failures: list[Failure] = field(default_factory=list[Failure])

    def note(self, selection: Selection) -> Sequence[Record]:
        """Keep what was dropped in mind, and hand on the rest."""
        self.dropped += selection.dropped
        return selection.records


def assemble(config: SynthesisConfig, vocabulary: Vocabulary, *, ask: Asker, label: Labeller, seed: int) -> TrainingSet:
    """Make the training set.

    Rewritten copies are made of pairs whose labels agree, so that nothing is paid for pairs that are dropped.

    Raises:
        UserError: a split would be empty, or has fewer rows than `config.rows` asks for; before anything is asked if
            the number of situations already shows it.
    """
    check_plan(config, vocabulary, seed=seed)
    losses = _Losses()
    generated = generate(config, vocabulary, ask=ask, seed=seed)
    losses.failures += generated.failures
    losses.refused["original"] = generated.refused
    originals = _labelled(losses.note(drop_repeats(generated.records)), label, losses)
    unfiltered = [*originals, *_copies(originals, config, vocabulary, ask, label, seed, losses)]
    _check_splits(unfiltered, config)
    filtered = keep_least_telling(unfiltered, config.word_filter, seed=seed)
    records = filtered.records
    if config.rows is not None:
        records = draw_rows(records, rows=config.rows, test_fraction=config.test_fraction, seed=seed).records
    if config.annotate:
        annotated = annotate(records, ask=ask)
        losses.failures += annotated.failures
        records = annotated.records
    report = {
        "prompts_written": len(generated.records),
        **_lost(losses),
        "pairs_filtered": [{"pair_id": pair, "reason": reason} for pair, reason in filtered.dropped],
        "rows_not_drawn": len(filtered.records) - len(records),
        **_counts(records),
    }
    return TrainingSet(sorted(records, key=lambda record: record.id), unfiltered, report)


def _labelled(records: Sequence[Record], label: Labeller, losses: _Losses) -> Sequence[Record]:
    labelled, failures = label(records)
    losses.failures += failures
    return losses.note(keep_agreeing_pairs(labelled))


def _copies(
    originals: Sequence[Record],
    config: SynthesisConfig,
    vocabulary: Vocabulary,
    ask: Asker,
    label: Labeller,
    seed: int,
    losses: _Losses,
) -> list[Record]:
    copies: list[Record] = []
    shares: dict[Rewriting, float] = {"neutralise": config.neutralise, "manipulate": config.manipulate}
    for rewriting, share in shares.items():
        if not share:
            continue
        rewritten = rewrite(
            originals, rewriting, share=share, telling_words=vocabulary.telling_words, ask=ask, seed=seed
        )
        losses.failures += rewritten.failures
        losses.refused[VARIANTS[rewriting]] = rewritten.refused
        new = losses.note(drop_repeats(rewritten.records, known=[*originals, *copies]))
        copies += _labelled(new, label, losses)
    return copies


def _check_splits(records: Sequence[Record], config: SynthesisConfig) -> None:
    situations = {
        split: {record.fields["situation_id"] for record in records if record.fields["split"] == split}
        for split in SPLITS
    }
    for split in SPLITS:
        if not situations[split]:
            raise UserError(
                f"the {split} split has no rows: none of its pairs is left.",
                where="params.yaml: synthesise",
                remedy="raise `situations`, and see data/replies for what the model wrote.",
            )
    if config.word_filter.keep < 1 and len(situations["train"]) < 2:
        raise UserError(
            "the train split has one situation, but the word filter learns from others than it judges.",
            where="params.yaml: synthesise",
            remedy="raise `situations`, or set word_filter.keep to 1.",
        )


def _lost(losses: _Losses) -> dict[str, Any]:
    return {
        "pairs_refused": {variant: sorted(pairs) for variant, pairs in losses.refused.items()},
        "pairs_dropped": [{"pair_id": pair, "reason": reason} for pair, reason in sorted(losses.dropped)],
        "questions_without_answer": [
            {"record_id": failure.record_id, "kind": failure.kind}
            for failure in sorted(losses.failures, key=lambda failure: (failure.record_id, failure.kind))
        ],
    }


def _counts(records: Sequence[Record]) -> dict[str, Any]:
    by_split = Counter(str(record.fields["split"]) for record in records)
    attributes = {
        name: dict(Counter(str(record.fields[name]) for record in records).most_common()) for name in ATTRIBUTES
    }
    return {"rows": {split: by_split[split] for split in SPLITS}, "rows_with": attributes}
