"""Anthropic HH (`Anthropic/hh-rlhf`): each row gives two dialogues, the chosen and the rejected one."""

import re
from pathlib import Path
from typing import cast

from models_under_pressure.core.conversation import Message
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import read_jsonl
from models_under_pressure.core.records import Record
from models_under_pressure.datasets.source import Dropped, Parsed, content_group

_TURN = re.compile(r"(?:^|\n\n)(Human|Assistant)s?:", flags=re.MULTILINE)
"""A turn opens at a blank line; the source also spells `Humans:`."""
_ROLES = {"Human": "user", "Assistant": "assistant"}


def parse(folder: Path) -> Parsed:
    """Read `train.jsonl`: rows of `chosen` and `rejected` dialogues.

    Siblings share a `group`, so that the two endings of one dialogue stay in one split; rows whose first human turn
    is equal share it too.
    """
    path = folder / "train.jsonl"
    records: list[Record] = []
    dropped: list[Dropped] = []
    for number, row in read_jsonl(path):
        for category in ("chosen", "rejected"):
            text: object = cast("dict[str, object]", row).get(category) if isinstance(row, dict) else None
            if not isinstance(text, str):
                raise UserError(
                    f"row has no text `{category}`.", where=f"{path}:{number}", remedy="fetch the source again."
                )
            id_ = f"train_{number - 1}_{category}"
            messages = parse_dialogue(text)
            if not any(message.content for message in messages):
                dropped.append(Dropped(id_, "empty dialogue"))
                continue
            fields = {"split": "train", "category": category, "index": number - 1, "group": _group(messages, id_)}
            records.append(Record(id=id_, input=messages, fields=fields))
    return Parsed(records, dropped)


def parse_dialogue(text: str) -> tuple[Message, ...]:
    """Cut a transcript into turns; inner blank lines and indentation stay as they are.

    Text before the first turn is a system turn. Neighbouring turns of one role are kept apart, as in the source.
    """
    pieces = _TURN.split(text)
    head = [Message("system", pieces[0].strip())] if pieces[0].strip() else []
    turns = [Message(_ROLES[role], content.strip()) for role, content in zip(pieces[1::2], pieces[2::2], strict=True)]
    return tuple(head + turns)


def _group(messages: tuple[Message, ...], id_: str) -> str:
    first = next((message.content for message in messages if message.role == "user"), id_)
    return content_group(first)
