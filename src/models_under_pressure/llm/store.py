"""Where replies are looked up: the stage's record file, the shipped files, the ledger; and the key of a request."""

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import stable_hash, write_jsonl
from models_under_pressure.llm.ledger import UNREADABLE, Entry, Ledger, ledger_path
from models_under_pressure.llm.reply import Reply, checksum, from_row, to_row

_KEYED = (
    *("model", "messages", "response_format", "tools", "tool_choice", "reasoning_effort", "reasoning", "seed", "n"),
    *("temperature", "top_p", "max_tokens", "stop", "frequency_penalty", "presence_penalty"),
)
"""Fields that shape the reply. Host, headers, routing, user and timeouts do not."""
_KEY = re.compile(r"[0-9a-f]{1,64}")
_PYDANTIC_VERSION = re.compile(r"(?<=https://errors\.pydantic\.dev/)\d+\.\d+/")
"""A question asked again quotes pydantic's error, whose link holds pydantic's version."""


def read_record_file(path: Path) -> dict[str, Reply]:
    """Key -> reply, in the order of the file; empty if there is none.

    Raises:
        UserError: naming the line that is not a reply, that was altered, or whose key occurred before.
    """
    return {key: reply for _, _, key, reply in record_lines(path)}


def record_lines(path: Path) -> Iterator[tuple[int, str, str, Reply]]:
    """Yield (line number, line, key, reply) of a record file; nothing if there is none.

    Raises:
        UserError: see `read_record_file`.
    """
    seen: set[str] = set()
    for number, raw in enumerate(_bytes_of(path).splitlines(), start=1):
        try:
            line = raw.decode()
            row = json.loads(line)
            key, reply = row["key"], from_row(row)
            is_key = _KEY.fullmatch(key) is not None
            is_altered = "sha256" in row and row["sha256"] != checksum(row)
        except UNREADABLE:
            raise _damaged(path, number, "line is not a recorded reply.") from None
        if not is_key:
            raise _damaged(path, number, "line is not a recorded reply.")
        if is_altered:
            raise _damaged(path, number, "the reply was altered after it was recorded: its sha256 does not fit.")
        if key in seen:
            raise _damaged(path, number, f"key {key} occurs twice.")
        seen.add(key)
        yield number, line, key, reply


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except IsADirectoryError:
        raise UserError(
            "is a folder.", where=str(path), remedy="a record file is to stand here; move it away."
        ) from None


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
