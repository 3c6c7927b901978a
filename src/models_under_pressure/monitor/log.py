"""A log of watched conversations: JSON Lines that a kill cannot tear, each on disk before anything else is done."""

import fcntl
import os
from pathlib import Path

from models_under_pressure.core.display import notice
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import json_line
from models_under_pressure.monitor.running import Outcome


class Log:
    """An open log, of one process at a time."""

    def __init__(self, path: Path) -> None:
        """Open it, made if there is none; a last line that a crash tore off is removed, and said so.

        Raises:
            UserError: another process has it open.
        """
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = path.open("ab+", buffering=0)
        try:
            fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._stream.close()
            remedy = "give each process a log of its own."
            raise UserError("another process writes this log.", where=str(path), remedy=remedy) from None
        self._size = self._whole()
        if torn := os.fstat(self._stream.fileno()).st_size - self._size:
            self._stream.truncate(self._size)
            os.fsync(self._stream.fileno())
            notice(f"mup: {path}: the last line was torn off by a crash; its {torn} bytes are removed.")

    def add(self, outcome: Outcome) -> None:
        """Write a conversation; it is on disk when this returns, or an error is raised and nothing is."""
        line = (json_line(outcome.row) + "\n").encode()
        try:
            rest = memoryview(line)
            while rest:
                rest = rest[self._stream.write(rest) :]
            os.fsync(self._stream.fileno())
        except OSError:
            self._stream.truncate(self._size)
            raise
        self._size += len(line)

    def close(self) -> None:
        """Let other processes have it."""
        self._stream.close()

    def _whole(self) -> int:
        """Bytes up to the end of the last whole line."""
        end = self._stream.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - (1 << 16))
            self._stream.seek(start)
            place = self._stream.read(end - start).rfind(b"\n")
            if place >= 0:
                return start + place + 1
            end = start
        return 0
