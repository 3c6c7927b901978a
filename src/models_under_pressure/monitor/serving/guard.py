"""What a request must pass before anything is done for it: the host, the key, the size, the time, its JSON."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hmac import compare_digest
from typing import Any, NoReturn
from urllib.parse import urlsplit

from fastapi import Request
from fastapi.responses import Response
from pydantic import SecretStr
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from models_under_pressure.monitor.serving.metrics import Metrics
from models_under_pressure.monitor.serving.refusals import RefusalError

OPEN = ("/", "/healthz")
"""Paths that need no key: they tell nothing of a conversation."""
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(frozen=True)
class Limits:
    """What a client may do."""

    key: SecretStr | None = None
    """What it must present; None lets everybody in."""
    hosts: frozenset[str] | None = None
    """Names by which it may call the server; None is any. Else a web page could have a name of its own lead here."""
    most_bytes: int = 1 << 20
    """Size of a request's body."""
    most_tokens: int = 1024
    """Length of a reply."""
    seconds: float = 30.0
    """Time to send a request's body, and the longest time in which nothing is read of an answer."""


def json_response(row: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """JSON in ASCII: half of a character, which a model may write, has no UTF-8."""
    body = json.dumps(row, allow_nan=False).encode()
    return Response(body, status_code=status, headers=headers, media_type="application/json")


def refused(error: RefusalError) -> Response:
    """The answer to a request that is refused."""
    return json_response(error.row, status=error.status, headers=error.headers)


class Guard:
    """Lets requests through that name the server rightly and have the key; counts all answers."""

    def __init__(self, app: ASGIApp, *, limits: Limits, metrics: Metrics, paths: Sequence[str]) -> None:
        self._app, self._limits, self._metrics, self._paths = app, limits, metrics, paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._metrics.request(self._path(scope), message["status"])
                own = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", []), *own]}
            await send(message)

        problem = self._problem(scope["path"], {key.lower(): value for key, value in scope["headers"]})
        app = self._app if problem is None else refused(problem)
        await app(scope, receive, answer)

    def _path(self, scope: Scope) -> str:
        """The path, if it is one of the server's own: others would grow the counts without end."""
        return scope["path"] if scope["path"] in self._paths else "other"

    def _problem(self, path: str, headers: Mapping[bytes, bytes]) -> RefusalError | None:
        host = urlsplit("//" + headers.get(b"host", b"").decode("latin-1")).hostname
        if self._limits.hosts is not None and host not in self._limits.hosts:
            return RefusalError(403, "call the server by the address that it printed.", code="wrong_host")
        if self._limits.key is None or path in OPEN:
            return None
        scheme, _, key = headers.get(b"authorization", b"").partition(b" ")
        known = self._limits.key.get_secret_value().encode()
        if scheme.lower() == b"bearer" and compare_digest(key.strip(), known):
            return None
        problem = "wrong key, or none: send `Authorization: Bearer …` with the server's MUP_SERVE_KEY."
        return RefusalError(401, problem, code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})


async def read_json(request: Request, limits: Limits) -> Any:
    """The JSON of a request's body.

    Raises:
        RefusalError: 408, 413, 415 or 400: it comes too slowly, is too large, says that it is something else, or is no
            JSON.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":  # what a foreign web page may send unasked is never this
        raise RefusalError(415, "send JSON, with `Content-Type: application/json`.")
    body = bytearray()
    try:
        async with asyncio.timeout(limits.seconds):
            async for part in request.stream():
                body += part
                if len(body) > limits.most_bytes:
                    problem = f"the body has more than {limits.most_bytes} bytes."
                    raise RefusalError(413, problem, code="body_too_large", headers={"Connection": "close"})
    except TimeoutError:
        problem = f"the body did not come within {limits.seconds:g} s."
        raise RefusalError(408, problem, code="timeout", headers={"Connection": "close"}) from None
    try:
        return json.loads(body, parse_constant=_refuse_constant)
    except RecursionError:
        raise RefusalError(400, "the body is JSON nested too deep.") from None
    except ValueError as error:
        raise RefusalError(400, f"the body is not JSON ({error}).") from None


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number")
