"""The ledger: every reply ever paid for on this machine, in one SQLite file outside the project."""

import json
import os
import sqlite3
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import canonical_json, is_object
from models_under_pressure.llm.redact import one_line
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
UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, RecursionError)
"""What a reader of JSON raises when it finds other JSON than was written."""
_BUSY_SECONDS = 60.0
"""How long a process waits while another one writes."""
_RETRY_SECONDS = 0.01


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
        with self.used():
            row = self.connection().execute(query, (key, since)).fetchone()
            return from_completion(_object(row[0])) if row else None

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
        with self.used(), self.connection() as transaction:
            transaction.execute(f"insert or {verb} into replies values (?, ?, ?, ?, ?)", values)
        kept = self.get(entry.key)
        assert kept is not None
        return kept

    def entries(self) -> Iterator[Entry]:
        """Every reply, by key."""
        with self.used():
            for row in self._rows():
                yield _entry(row)

    def delete(self, keys: Iterable[str]) -> None:
        """Forget replies and give their space back."""
        with self.used():
            with self.connection() as transaction:
                transaction.executemany("delete from replies where key = ?", ((key,) for key in keys))
            self.connection().execute("vacuum")

    def problems(self, *, check: Callable[[Entry], str | None] = lambda entry: None) -> list[str]:
        """What is wrong with the file and, if it is whole, with its replies: `check` says it of one; one line each."""
        found: list[str] = []
        try:
            with self.used():
                if not self.exists:
                    return []
                pages = [one_line(str(row[0])) for row in self.connection().execute("pragma integrity_check")]
                if pages != ["ok"]:
                    return [f"damaged, {pages[0]}" + (f", and {len(pages) - 1} problems more" if pages[1:] else "")]
                for row in self._rows():
                    try:
                        problem = check(_entry(row))
                    except UNREADABLE:
                        problem = "a reply cannot be read"
                    if problem:
                        found.append(f"{one_line(str(row[0]))}: {problem}")
        except UserError as error:
            found.append(error.problem)
        return found

    def _rows(self) -> Iterator[tuple[Any, ...]]:
        if self.exists:
            columns = "key, recorded_at, sample, request, response"
            yield from self.connection().execute(f"select {columns} from replies order by key")

    @contextmanager
    def used(self) -> Generator[None]:
        """Turn what a damaged, full or locked file raises into one line."""
        try:
            yield
        except (sqlite3.Error, *UNREADABLE) as error:
            raise UserError(
                f"the ledger of paid replies cannot be used ({one_line(f'{type(error).__name__}: {error}')}).",
                where=str(self.path),
                remedy="see that the disk has room and the file can be written (MUP_LEDGER names another); a damaged "
                "one must be moved away: `mup replies verify` tells.",
            ) from None

    def begin_refresh(self, what: str) -> float:
        """Start a refresh, or take up the one that was cut off; replies recorded since then are fresh."""
        with self.used(), self.connection() as transaction:
            transaction.execute("insert or ignore into refreshes values (?, ?)", (what, time.time()))
        started = self.refresh_started(what)
        assert started is not None
        return started

    def refresh_started(self, what: str) -> float | None:
        """When the refresh under way began (Unix time); None if there is none."""
        if not self.exists:
            return None
        with self.used():
            row = self.connection().execute("select started from refreshes where what = ?", (what,)).fetchone()
            return float(row[0]) if row else None

    def end_refresh(self, what: str) -> None:
        """A refresh is complete; the next one asks anew."""
        with self.used(), self.connection() as transaction:
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
                self._connection = self._open()
            except (sqlite3.Error, OSError) as error:
                raise UserError(
                    f"the ledger of paid replies cannot be opened ({one_line(str(error))}).",
                    where=str(self.path),
                    remedy="name a file of your own, on a local disk, in MUP_LEDGER; move a damaged ledger away.",
                ) from None
        return self._connection

    def _open(self) -> sqlite3.Connection:
        """Open the file, for its owner only in any folder: it holds text of datasets. SQLite's own files follow it."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        for path in (
            self.path,
            *(self.path.with_name(f"{self.path.name}-{kind}") for kind in ("wal", "shm", "journal")),
        ):
            with suppress(FileNotFoundError):  # another process has closed the ledger
                if path.stat().st_mode & 0o077:
                    path.chmod(0o600)
        end = time.monotonic() + _BUSY_SECONDS
        while True:
            try:
                return self._connect()
            except sqlite3.OperationalError as error:
                # to turn to a log of writes, which the first connection does, SQLite does not wait for others
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                    raise
                time.sleep(_RETRY_SECONDS)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=_BUSY_SECONDS)
        try:
            connection.execute("pragma journal_mode = wal")
            connection.execute("pragma synchronous = normal")
            connection.executescript(_SCHEMA)
        except sqlite3.Error:
            connection.close()
            raise
        return connection


def _object(text: str) -> dict[str, Any]:
    """A JSON object that the ledger holds.

    Raises:
        ValueError: it is something else.
    """
    value = json.loads(text)
    if not is_object(value):
        raise ValueError("no JSON object")
    return value


def _entry(row: tuple[Any, ...]) -> Entry:
    key, recorded_at, sample, request, response = row
    if not (isinstance(key, str) and isinstance(recorded_at, float | int) and isinstance(sample, int)):
        raise TypeError("columns are of other types")
    return Entry(key, recorded_at, sample, _object(request), _object(response))
