"""Where replies are looked up and kept: record file, shipped files, ledger."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from models_under_pressure.core.files import write_jsonl
from models_under_pressure.llm.ledger import Entry, Ledger, ledger_path
from models_under_pressure.llm.record_file import RecordFile
from models_under_pressure.llm.reply import Reply, to_row
from models_under_pressure.llm.request_key import keyed_request, request_key


class ReplyStore:
    """The replies that one run may use: its record file, then the shipped files, then the ledger.

    Raises:
        UserError: a record file holds a line that is not a reply.
    """

    def __init__(
        self, *, record_file: Path | None = None, shipped: Sequence[Path] = (), ledger: Path | None = None
    ) -> None:
        self.record_file = record_file
        self.ledger = Ledger(ledger or ledger_path())
        self._own = [RecordFile(record_file)] if record_file else []
        self._files = [*self._own, *(RecordFile(path) for path in shipped)]
        self._used: set[str] = set()
        self._refreshed: set[str] = set()
        """Keys whose reply in the ledger is newer than that in the record files."""
        self._refresh_started: float | None = None

    def get(self, key: str, *, fresh: bool = False) -> Reply | None:
        """The reply of a key; with `fresh`, only if the refresh under way recorded it."""
        if not fresh:
            reply = self._find(key)
        elif (started := self._refresh_started or self.ledger.refresh_started(self._name)) is not None:
            reply = self.ledger.get(key, since=started)
        else:
            reply = None
        if reply is not None:
            self.use(key, fresh=fresh)
        return reply

    def use(self, key: str, *, fresh: bool = False) -> None:
        """Count a reply among those of this run; a `fresh` one is newer than that in the record files."""
        self._used.add(key)
        if fresh:
            self._refreshed.add(key)

    def put(self, body: dict[str, Any], response: dict[str, Any], *, sample: int, fresh: bool = False) -> Reply:
        """Keep a response before anyone uses it, and return the reply that counts.

        The first reply of a key stays for ever, also when two processes ask at once; `fresh` replaces it.
        """
        if fresh and self._refresh_started is None:
            self._refresh_started = self.ledger.begin_refresh(self._name)
        key = request_key(body, sample=sample)
        entry = Entry(key, time.time(), sample, keyed_request(body), response)
        reply = self.ledger.put(entry, replace=fresh)
        self.use(key, fresh=fresh)
        return reply

    def write_record_file(self, *, keep_unused: bool = False) -> None:
        """Write the replies that this run used, sorted by key, atomically; the bytes depend on nothing else.

        `keep_unused` keeps the other lines of the file too.
        """
        assert self.record_file is not None, "the store has no record file"
        keys = self._used.union(*self._own) if keep_unused else self._used
        write_jsonl(self.record_file, self._rows(sorted(keys)))
        if self._refreshed:
            self.ledger.end_refresh(self._name)
            self._refresh_started = None

    def close(self) -> None:
        """Close the files."""
        self.ledger.close()
        for file in self._files:
            file.close()

    @property
    def _name(self) -> str:
        return str(self.record_file.resolve() if self.record_file else "")

    def _find(self, key: str) -> Reply | None:
        if key in self._refreshed:
            return self.ledger.get(key)
        for file in self._files:
            if (reply := file.get(key)) is not None:
                return reply
        return self.ledger.get(key)

    def _rows(self, keys: list[str]) -> Iterator[dict[str, Any]]:
        for key in keys:
            reply = self._find(key)
            assert reply is not None, f"reply {key} vanished"
            yield to_row(key, reply)
