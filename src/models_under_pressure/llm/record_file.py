"""Record files: replies as JSON Lines sorted by key, small enough for git or DVC."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from models_under_pressure.core.errors import UserError
from models_under_pressure.llm.reply import Reply, from_row


class RecordFile:
    """Read-only view of one record file; only keys and offsets are in memory.

    Raises:
        UserError: naming the line that is not a reply, or whose key occurred before.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines: dict[str, tuple[int, int]] = {}
        self._stream = path.open("rb") if path.exists() else None
        offset = 0
        for number, line in enumerate(self._stream or (), start=1):
            key = self._parse(line, number)["key"]
            if key in self._lines:
                raise self._problem(number, f"key {key} occurs twice.")
            self._lines[key] = (offset, len(line))
            offset += len(line)

    def __len__(self) -> int:
        return len(self._lines)

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines)

    def get(self, key: str) -> Reply | None:
        """The reply of a key."""
        if self._stream is None or key not in self._lines:
            return None
        offset, length = self._lines[key]
        return from_row(json.loads(os.pread(self._stream.fileno(), length, offset)))

    def close(self) -> None:
        """Close the file."""
        if self._stream is not None:
            self._stream.close()

    def _parse(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            row = json.loads(line)
            from_row(row)
            int(row["key"], 16)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise self._problem(number, "line is not a recorded reply.") from None
        return row

    def _problem(self, number: int, problem: str) -> UserError:
        return UserError(
            problem, where=f"{self.path}:{number}", remedy="restore the file (git, `dvc pull`) or delete this line."
        )
