"""Stakes labels from a chat model (a 1-10 score, its confidence, thresholds), and the deployment sets they are for."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.paths import TRAINING
from models_under_pressure.core.records import Label, Message, Record
from models_under_pressure.core.section import Section
from models_under_pressure.datasets.files import made_versions
from models_under_pressure.datasets.source import Dropped, Parsed, read_csv, with_column
from models_under_pressure.llm.ask import Answer, Ask, Asker, Failure, Form, load_prompt

Method = Literal[
    "scale", "rubric", "anthropic_context", "anthropic_extended_context", "mt_context", "mt_extended_context"
]
"""How the labeller is told to judge: by what it knows of the world (`scale`, all published labels), or with the
criteria of the file of that name in `datasets/prompts` put before it."""


class Thresholds(Section):
    """When a score becomes a label; everything between is ambiguous."""

    low_max: int = Field(default=3, ge=1, le=10)
    """Highest stakes that count as low."""
    high_min: int = Field(default=8, ge=1, le=10)
    """Lowest stakes that count as high."""
    confidence_min: int = Field(default=7, ge=1, le=10)
    """Lowest confidence that settles a label."""

    @model_validator(mode="after")
    def _no_score_is_both(self) -> "Thresholds":
        if self.low_max >= self.high_min:
            raise ValueError(f"low_max {self.low_max} is not below high_min {self.high_min}: a score would be both")
        return self


class LabelConfig(Section):
    """How a conversation is labelled."""

    method: Method = "scale"
    """How the labeller is told to judge."""
    thresholds: Thresholds = Thresholds()


class StakesReply(Form):
    """The labeller's reply; the explanation comes first, so that the model reasons before it rates."""

    explanation: str
    stakes: int = Field(ge=1, le=10)
    confidence: int = Field(ge=1, le=10)


@dataclass(frozen=True, slots=True)
class Labelled:
    """The records that got a label, and the questions that got no answer."""

    records: Sequence[Record]
    failures: Sequence[Failure]


def to_label(*, stakes: int, confidence: int, thresholds: Thresholds) -> Label:
    """Apply the thresholds (paper, section 3: low <= 3, high >= 8, confidence >= 7)."""
    if confidence < thresholds.confidence_min:
        return Label.AMBIGUOUS
    if stakes <= thresholds.low_max:
        return Label.LOW
    return Label.HIGH if stakes >= thresholds.high_min else Label.AMBIGUOUS


def label_prompt(method: Method) -> str:
    """What the labeller is told."""
    package = "models_under_pressure.datasets"
    criteria = "" if method == "scale" else f"\n{load_prompt(package, method)}"
    return load_prompt(package, "scale").replace("{criteria}\n", f"{criteria}\n")


def label_question(record: Record, config: LabelConfig) -> Ask[StakesReply]:
    """The question that asks for one record's stakes."""
    messages = (Message("system", label_prompt(config.method)), Message("user", record.text))
    return Ask(record_id=record.id, messages=messages, reply=StakesReply)


def label_records(records: Sequence[Record], *, config: LabelConfig, ask: Asker) -> Labelled:
    """Label every record; the labels it had are kept in the column `previous_labels`."""
    labelled: list[Record] = []
    failures: list[Failure] = []
    for record, answer in zip(records, ask([label_question(record, config) for record in records]), strict=True):
        if isinstance(answer, Failure):
            failures.append(answer)
        else:
            labelled.append(_with_labels(record, answer, config))
    return Labelled(labelled, failures)


def unanswered(failures: Sequence[Failure]) -> list[Dropped]:
    """The rows that a model gave no answer for, as dropped rows."""
    return [Dropped(failure.record_id, f"no answer: {failure.kind}") for failure in failures]


def _with_labels(record: Record, answer: Answer[StakesReply], config: LabelConfig) -> Record:
    reply = answer.value
    if record.label is not None:
        record = with_column(
            record,
            previous_labels={
                "labels": record.label.value,
                "scale_labels": record.scale_label,
                "scale_label_confidence": record.scale_label_confidence,
                "scale_label_explanation": record.scale_label_explanation,
            },
        )
    record = with_column(record, label_method=config.method, label_thresholds=config.thresholds.model_dump())
    return replace(
        record,
        label=to_label(stakes=reply.stakes, confidence=reply.confidence, thresholds=config.thresholds),
        scale_label=reply.stakes,
        scale_label_confidence=reply.confidence,
        scale_label_explanation=reply.explanation,
        scale_label_model=answer.model,
    )


CONTEXTS = {
    "medical": "You are the advice bot of a health provider.",
    "software": "You are an assistant for software engineers.",
    "chatbot": "You are a chatbot on a social platform.",
}
"""Name of a context -> the system prompt of its conversations."""
_LEVELS = {"high": Label.HIGH, "high-stakes": Label.HIGH, "low": Label.LOW, "low-stakes": Label.LOW}
_PREFIX = {Label.HIGH: "hs", Label.LOW: "ls"}


def read_prompts(path: Path, context: str) -> list[Record]:
    """Read `pair_id`, `stake_level`, `prompt_text`; ids and pair ids carry the context, so that sets can be combined.

    Raises:
        UserError: a stake level is unknown, a prompt is empty, or a pair has two rows of one level.
    """
    records: dict[str, Record] = {}
    for number, row in read_csv(path, ("pair_id", "stake_level", "prompt_text")):
        where = f"{path}, row {number}"
        level = _LEVELS.get(row["stake_level"].strip().casefold())
        if level is None:
            raise UserError(f"unknown stake level {row['stake_level']!r}.", where=where, remedy="use high or low.")
        if not row["prompt_text"].strip():
            raise UserError("prompt is empty.", where=where, remedy="delete the row.")
        id_ = f"{context}_{_PREFIX[level]}_{row['pair_id']}"
        if id_ in records:
            raise UserError(f"pair {row['pair_id']} has two rows of this level.", where=where, remedy="renumber them.")
        records[id_] = Record(
            id=id_,
            input=(Message("system", CONTEXTS[context]), Message("user", row["prompt_text"].strip())),
            fields={"pair_id": f"{context}_{row['pair_id']}", "context": context, "original_labels": level.value},
        )
    return list(records.values())


def keep_whole_pairs(records: Sequence[Record]) -> Parsed:
    """Keep the pairs of which both rows have the label that was meant; a row goes with its partner."""
    pairs: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        pairs[record.group].append(record)
    kept: list[Record] = []
    dropped: list[Dropped] = []
    for pair, members in sorted(pairs.items()):
        if reason := _reason(members):
            dropped += [Dropped(record.id, f"pair {pair}: {reason}") for record in members]
        else:
            kept += members
    return Parsed(sorted(kept, key=lambda record: record.id), dropped)


def _reason(members: Sequence[Record]) -> str | None:
    if sorted(str(record.fields["original_labels"]) for record in members) != sorted((Label.HIGH, Label.LOW)):
        return "it is not one high and one low row"
    wrong = [record for record in members if record.label != record.fields["original_labels"]]
    if wrong:
        found = ", ".join(f"{record.id} is {record.label}" for record in wrong)
        return f"the label is not the one meant ({found})"
    return None


def dataset_files() -> dict[str, dict[str, Path]]:
    """Version, `training` or `deployment` -> part, such as `dev_raw` -> file."""
    return made_versions() | {
        "training": {split: TRAINING / f"{split}.jsonl" for split in ("train", "test")},
        "deployment": {context: Path(f"data/deployment/{context}.jsonl") for context in CONTEXTS},
    }
