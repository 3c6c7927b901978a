"""The ledger: every reply ever paid for on this machine, in SQLite, outside the workspace."""

import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import canonical_json
from models_under_pressure.llm.reply import Reply, from_completion

_SCHEMA = """
create table if not exists replies (
    key text primary key, recorded_at real not null, sample integer not null,
    request text not null, response text not null
) without rowid;
create table if not exists refreshes (what text primary key, started real not null) without rowid;
create table if not exists batches (
    name text primary key, what text not null, endpoint text not null, batch_id text
) without rowid;
create table if not exists awaited (
    name text not null, key text not null, sample integer not null, fresh integer not null, request text not null,
    primary key (name, key)
) without rowid;
"""
_BUSY_SECONDS = 60.0
"""How long a process waits while another one writes."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One paid reply: what was asked, and the body of the response as received."""

    key: str
    recorded_at: float
    """Unix time, seconds."""
    sample: int
    request: dict[str, Any]
    response: dict[str, Any]


def ledger_path() -> Path:
    """Where the ledger is: the variable MUP_LEDGER, else the user's data folder."""
    if override := os.environ.get("MUP_LEDGER"):
        return Path(override)
    from platformdirs import user_data_path

    return user_data_path("models-under-pressure") / "ledger.sqlite"


class Ledger:
    """Replies by key. Safe for several processes; what `put` returned from survives kill -9."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None

    @property
    def exists(self) -> bool:
        """Whether anything was ever recorded; looking things up creates no file."""
        return self._connection is not None or self.path.exists()

    def get(self, key: str, *, since: float = 0.0) -> Reply | None:
        """The reply of a key, if it was recorded at or after `since` (Unix time)."""
        if not self.exists:
            return None
        query = "select response from replies where key = ? and recorded_at >= ?"
        row = self.connection().execute(query, (key, since)).fetchone()
        return from_completion(json.loads(row[0])) if row else None

    def put(self, entry: Entry, *, replace: bool = False) -> Reply:
        """Keep a reply and return the one that counts: the first of its key, unless `replace` is set."""
        verb = "replace" if replace else "ignore"
        values = (
            entry.key,
            entry.recorded_at,
            entry.sample,
            canonical_json(entry.request),
            json.dumps(entry.response, ensure_ascii=False),
        )
        with self.connection() as transaction:
            transaction.execute(f"insert or {verb} into replies values (?, ?, ?, ?, ?)", values)
        kept = self.get(entry.key)
        assert kept is not None
        return kept

    def entries(self) -> Iterator[Entry]:
        """Every reply, by key."""
        if not self.exists:
            return
        for key, recorded_at, sample, request, response in self.connection().execute(
            "select * from replies order by key"
        ):
            yield Entry(key, recorded_at, sample, json.loads(request), json.loads(response))

    def delete(self, keys: Iterable[str]) -> None:
        """Forget replies and give their space back."""
        with self.connection() as transaction:
            transaction.executemany("delete from replies where key = ?", ((key,) for key in keys))
        self.connection().execute("vacuum")

    def problems(self) -> list[str]:
        """What SQLite finds wrong with the file; empty if it is whole."""
        if not self.exists:
            return []
        found = [row[0] for row in self.connection().execute("pragma integrity_check")]
        return [] if found == ["ok"] else found

    def begin_refresh(self, what: str) -> float:
        """Start a refresh, or take up the one that was cut off; replies recorded since then are fresh."""
        with self.connection() as transaction:
            transaction.execute("insert or ignore into refreshes values (?, ?)", (what, time.time()))
        started = self.refresh_started(what)
        assert started is not None
        return started

    def refresh_started(self, what: str) -> float | None:
        """When the refresh under way began (Unix time); None if there is none."""
        if not self.exists:
            return None
        row = self.connection().execute("select started from refreshes where what = ?", (what,)).fetchone()
        return row[0] if row else None

    def end_refresh(self, what: str) -> None:
        """A refresh is complete; the next one asks anew."""
        with self.connection() as transaction:
            transaction.execute("delete from refreshes where what = ?", (what,))

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def connection(self) -> sqlite3.Connection:
        """The open file, created if need be.

        Raises:
            UserError: it cannot be opened.
        """
        if self._connection is None:
            try:
                self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # it holds text of datasets
                self._connection = sqlite3.connect(self.path, timeout=_BUSY_SECONDS)
                self._connection.execute("pragma journal_mode = wal")
                self._connection.execute("pragma synchronous = normal")
                self._connection.executescript(_SCHEMA)
            except (sqlite3.Error, OSError) as error:
                raise UserError(
                    f"the ledger of paid replies cannot be opened ({error}).",
                    where=str(self.path),
                    remedy="name a file on a local disk in MUP_LEDGER; a damaged ledger must be moved away.",
                ) from None
        return self._connection
