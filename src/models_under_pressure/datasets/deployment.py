"""Deployment sets: prompts as users of three kinds of product would type them, in pairs that differ in class."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from models_under_pressure.core.concept import Classes
from models_under_pressure.core.conversation import Message
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.paths import TRAINING
from models_under_pressure.core.records import Label, Record
from models_under_pressure.core.tables import read_csv
from models_under_pressure.datasets.files import by_group, made_versions
from models_under_pressure.datasets.source import Dropped, Parsed

_PREFIX = {Label.HIGH: "hs", Label.LOW: "ls"}


def read_prompts(path: Path, context: str, system: str, classes: Classes) -> list[Record]:
    """Read `pair_id`, `stake_level`, `prompt_text`; ids and pair ids carry the context, so that sets can be combined.

    Args:
        path: the table.
        context: its name.
        system: the system prompt of its conversations.
        classes: words for its levels, besides high and low.

    Raises:
        UserError: a stake level is unknown, a prompt is empty, or a pair has two rows of one level.
    """
    levels = {"high": Label.HIGH, classes.positive: Label.HIGH, "low": Label.LOW, classes.negative: Label.LOW}
    records: dict[str, Record] = {}
    for number, row in read_csv(path, ("pair_id", "stake_level", "prompt_text")):
        where = f"{path}, row {number}"
        level = levels.get(row["stake_level"].strip().casefold())
        if level is None:
            raise UserError(f"unknown stake level {row['stake_level']!r}.", where=where, remedy="use high or low.")
        if not row["prompt_text"].strip():
            raise UserError("prompt is empty.", where=where, remedy="delete the row.")
        id_ = f"{context}_{_PREFIX[level]}_{row['pair_id']}"
        if id_ in records:
            raise UserError(f"pair {row['pair_id']} has two rows of this level.", where=where, remedy="renumber them.")
        records[id_] = Record(
            id=id_,
            input=(Message("system", system), Message("user", row["prompt_text"].strip())),
            fields={
                "pair_id": f"{context}_{row['pair_id']}",
                "context": context,
                "original_labels": classes.word(level),
            },
            classes=classes,
        )
    return list(records.values())


def keep_whole_pairs(records: Sequence[Record]) -> Parsed:
    """Keep the pairs of which both rows have the label that was meant; a row goes with its partner."""
    kept: list[Record] = []
    dropped: list[Dropped] = []
    for pair, members in sorted(by_group(records).items()):
        if reason := _reason(members):
            dropped += [Dropped(record.id, f"pair {pair}: {reason}") for record in members]
        else:
            kept += members
    return Parsed(sorted(kept, key=lambda record: record.id), dropped)


def _reason(members: Sequence[Record]) -> str | None:
    classes = members[0].classes
    if sorted(str(record.fields["original_labels"]) for record in members) != sorted(
        (classes.positive, classes.negative)
    ):
        return "it is not one high and one low row"
    wrong = [record for record in members if record.label_word != record.fields["original_labels"]]
    if wrong:
        found = ", ".join(f"{record.id} is {record.label_word}" for record in wrong)
        return f"the label is not the one meant ({found})"
    return None


def dataset_files(contexts: Iterable[str]) -> dict[str, dict[str, Path]]:
    """Version, `training` or `deployment` -> part, such as `dev_raw` -> file.

    Args:
        contexts: names of the deployment sets.
    """
    return made_versions() | {
        "training": {split: TRAINING / f"{split}.jsonl" for split in ("train", "test")},
        "deployment": {context: Path(f"data/deployment/{context}.jsonl") for context in contexts},
    }
