"""ToolACE (`Team-ACE/ToolACE`): function-calling conversations with a system prompt that lists the tools."""

from pathlib import Path
from typing import Any, cast

from models_under_pressure.core.conversation import Message
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import read_json
from models_under_pressure.core.records import Record
from models_under_pressure.datasets.source import TOOL_LEAD_IN, Parsed, content_group

_ROLES = ("user", "assistant", "tool")


def parse(folder: Path) -> Parsed:
    """Read `data.json`; a tool's result becomes a user turn that says so, which every chat template accepts."""
    path = folder / "data.json"
    rows = read_json(path)
    if not isinstance(rows, list):
        raise UserError("file is not a JSON list.", where=str(path), remedy="fetch the source again.")
    listed = cast("list[Any]", rows)
    return Parsed([_record(row, index, f"{path}, row {index}") for index, row in enumerate(listed)])


def _record(row: Any, index: int, where: str) -> Record:
    try:
        messages = (Message("system", str(row["system"])), *(_turn(turn, where) for turn in row["conversations"]))
    except (KeyError, TypeError) as error:
        raise UserError(f"row lacks {error}.", where=where, remedy="fetch the pinned revision.") from None
    group = content_group("\n".join(message.content for message in messages[1:]))
    return Record(id=str(index), input=messages, fields={"group": group})


def _turn(turn: Any, where: str) -> Message:
    role, text = turn["from"], turn["value"]
    if role not in _ROLES:
        raise UserError(f"unknown role {role!r}.", where=where, remedy=f"known roles: {', '.join(_ROLES)}.")
    return Message("user", TOOL_LEAD_IN + text) if role == "tool" else Message(role, text)
