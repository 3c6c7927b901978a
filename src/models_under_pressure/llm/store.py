"""Where replies are looked up and kept: record file, shipped files, ledger."""

import json
import os
import re
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import canonical_json, stable_hash, write_jsonl
from models_under_pressure.llm.reply import Reply, from_completion, from_row, to_row

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


_KEYED = (
    *("model", "messages", "response_format", "tools", "tool_choice", "reasoning_effort", "reasoning", "seed", "n"),
    *("temperature", "top_p", "max_tokens", "stop", "frequency_penalty", "presence_penalty"),
)
"""Fields that shape the reply. Host, headers, routing, user and timeouts do not."""
_PYDANTIC_VERSION = re.compile(r"(?<=https://errors\.pydantic\.dev/)\d+\.\d+/")
"""A question asked again quotes pydantic's error, whose link holds pydantic's version."""


def read_record_file(path: Path) -> dict[str, Reply]:
    """Key -> reply, in the order of the file; empty if there is none.

    Raises:
        UserError: naming the line that is not a reply, or whose key occurred before.
    """
    replies: dict[str, Reply] = {}
    for number, line in enumerate(path.read_bytes().splitlines() if path.exists() else (), start=1):
        try:
            row = json.loads(line)
            key, reply = row["key"], from_row(row)
            int(key, 16)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise _damaged(path, number, "line is not a recorded reply.") from None
        if key in replies:
            raise _damaged(path, number, f"key {key} occurs twice.")
        replies[key] = reply
    return replies


def _damaged(path: Path, number: int, problem: str) -> UserError:
    remedy = "restore the file (git, `dvc pull`) or delete this line."
    return UserError(problem, where=f"{path}:{number}", remedy=remedy)


def keyed_request(body: dict[str, Any]) -> dict[str, Any]:
    """The part of a request's body that its key is made of, with one spelling per meaning."""
    request = dict(body)
    if "max_completion_tokens" in request:
        request["max_tokens"] = request.pop("max_completion_tokens")
    request["model"] = request["model"].removeprefix("openai/")  # OpenRouter's name of the same model
    request["messages"] = [
        {name: _PYDANTIC_VERSION.sub("", value) if isinstance(value, str) else value for name, value in message.items()}
        for message in request["messages"]
    ]
    for name in ("temperature", "top_p"):
        if request.get(name) is not None:
            request[name] = float(request[name])
    return {name: value for name, value in request.items() if name in _KEYED and value is not None}


def request_key(body: dict[str, Any], *, sample: int) -> str:
    """SHA-256 (hex) of a request: equal at every endpoint and with every version of the libraries.

    `sample` tells repeated questions apart; it is never sent.
    """
    return stable_hash(keyed_request(body), sample)


@dataclass(frozen=True, slots=True)
class Request:
    """A request whose reply is awaited."""

    key: str
    sample: int
    fresh: bool
    """Whether its reply takes the place of a recorded one."""
    body: Mapping[str, Any]


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
        self._own = read_record_file(record_file) if record_file else {}
        self._files = [self._own, *map(read_record_file, shipped)]
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
        keys = self._used.union(self._own) if keep_unused else self._used
        write_jsonl(self.record_file, self._rows(sorted(keys)))
        if self._refreshed:
            self.ledger.end_refresh(self._name)
            self._refresh_started = None

    def close(self) -> None:
        """Close the ledger."""
        self.ledger.close()

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
