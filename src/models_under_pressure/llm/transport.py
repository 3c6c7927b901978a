"""The HTTP client under `openai`: answers from the store, records what it fetches, and keeps to the limits.

Everything above it (openai's retries, instructor's parsing and re-asks) runs the same in replay as when recording.
Nothing is raised from here: openai would take any exception for a lost connection and retry it. Only responses.
"""

import asyncio
import json
import logging
import os
import sqlite3
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import cache
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

import httpx2
import instructor
import openai
from instructor.v2.providers.openrouter import from_openrouter

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.settings import load_settings
from models_under_pressure.llm.bounds import refused_keywords, without
from models_under_pressure.llm.config import LLMConfig, input_tokens
from models_under_pressure.llm.failures import (
    LONGEST_WAIT,
    asked_wait,
    fatal,
    is_filtered,
    is_too_long,
    mapping,
    parsed,
    status_of,
)
from models_under_pressure.llm.reading import complaint, read_reply
from models_under_pressure.llm.redact import one_line
from models_under_pressure.llm.reply import (
    Reply,
    Usage,
    completion_in,
    filtered_completion,
    is_paid,
    to_completion,
    usage_in,
)
from models_under_pressure.llm.session import CURRENT_CALL, Call, Session
from models_under_pressure.llm.store import Request, request_key

_BASE_URLS = {"openai": "https://api.openai.com/v1", "openrouter": "https://openrouter.ai/api/v1"}
_CONNECT_SECONDS = 5.0
_NETWORK_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")


class RecordingClient(openai.DefaultAsyncHttpxClient):
    """Sends a chat request only if no reply is recorded, and records the reply before anyone sees it."""

    def __init__(self, session: Session, **options: Any) -> None:
        super().__init__(**options)
        self._session = session
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        """Equal questions at once are paid once."""

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        """Answer a request of `openai`; other requests than chat completions pass through."""
        if not request.url.path.endswith("/chat/completions"):
            return await super().send(request, **options)
        try:
            return await self._answer(request, options)
        except httpx2.HTTPError:
            raise
        except Exception as error:  # openai would ask, and pay, again
            self._session.stop(_unusable(error, self._session))
            return _stop_asking(request, "stopped")

    async def _answer(self, request: httpx2.Request, options: dict[str, Any]) -> httpx2.Response:
        call, body = CURRENT_CALL.get(), json.loads(request.content)
        key = request_key(body, sample=call.sample)
        reply = self._session.store.get(key, fresh=call.fresh)
        if reply is None and self._session.online:
            async with self._locks.setdefault(key, asyncio.Lock()):
                reply = self._session.store.get(key, fresh=call.fresh)
                if reply is None:
                    response = await self._fetch(request, body, call, options)
                    if isinstance(response, httpx2.Response):
                        return response
                    reply = response
        if reply is None:
            call.missing = Request(key, call.sample, call.fresh, body)
            return _stop_asking(request, "no recorded reply")
        if call.requests == 0:
            self._session.meter.replayed(reply.usage)
        if reply.ended:
            call.ended = reply.ended
            return _stop_asking(request, reply.ended[0])
        if (value := read_reply(reply.content or "", call.form)) is not None:
            reply = replace(reply, content=value.model_dump_json())
        elif call.complaint is None:  # shown to the model as it is, as in older recordings
            call.complaint = complaint(reply.content or "", call.form)
        return httpx2.Response(200, json=to_completion(reply), request=request)

    async def _fetch(
        self, request: httpx2.Request, body: dict[str, Any], call: Call, options: dict[str, Any]
    ) -> Reply | httpx2.Response:
        """Ask the network, once more without bounds if the endpoint refuses a schema for them, and keep the reply."""
        refused = self._session.refused
        response = await self._send(request, body, call, options, leave_out=refused)
        if not isinstance(response, httpx2.Response) or response.status_code not in (400, 422):
            return response
        new = refused_keywords(response.content, body) - refused
        if not new or self._session.stopped:
            return response
        self._session.refused |= new
        return await self._send(request, body, call, options, leave_out=self._session.refused)

    async def _send(
        self,
        request: httpx2.Request,
        body: dict[str, Any],
        call: Call,
        options: dict[str, Any],
        *,
        leave_out: frozenset[str],
    ) -> Reply | httpx2.Response:
        session = self._session
        foreseen = await self._admit(call, input_tokens(body))
        if foreseen is None:
            return _stop_asking(request, "stopped")
        tokens, cost = foreseen
        usage: Usage | None = None
        call.sending, call.requests = True, call.requests + 1
        try:
            response = await super().send(_changed(request, body, leave_out) if leave_out else request, **options)
            raw = await response.aread()
            received = session.redactor.value(parsed(raw))
            usage = usage_in(mapping(received)) if response.is_success else None
            completion = completion_in(received) if response.is_success else None
            if completion is None and is_filtered(received):
                completion = filtered_completion(body["model"])
            if completion is None:
                return self._failed(request, response, raw, call)
            return session.store.put(body, completion, sample=call.sample, fresh=call.fresh)
        finally:
            call.sending = False
            if usage:
                used = usage.input_tokens + usage.output_tokens
                session.tokens_pace.correct(used - tokens)
            await session.meter.settle(cost, usage)

    async def _admit(self, call: Call, tokens_in: int) -> tuple[int, float] | None:
        """Wait until the limits let a request pass; its tokens and cost as foreseen, or None if the run is over."""
        session = self._session
        if session.stopped:
            return None
        if not session.has_key:
            session.stop(no_key(session.config.endpoint))
            return None
        loop = asyncio.get_running_loop()
        before = loop.time()
        remaining = call.deadline.when() if call.deadline else None
        if call.deadline:
            call.deadline.reschedule(None)
        cost = await session.meter.reserve(tokens_in)
        if cost is None:
            session.stop(_cap_reached(session))
            return None
        tokens = tokens_in + session.meter.usual_output_tokens
        await session.requests_pace.wait()
        await session.tokens_pace.wait(tokens)
        if call.deadline and remaining is not None:
            call.deadline.reschedule(remaining + loop.time() - before)
        return tokens, cost

    def _failed(self, request: httpx2.Request, response: httpx2.Response, raw: bytes, call: Call) -> httpx2.Response:
        """Pass a failure on to openai's retries; stop the run if every other question would fail alike.

        Of the response only the status, whether and when to ask again, and its text without secrets are passed on.
        """
        raw = self._session.redactor.text(raw.decode("utf-8", "replace")).encode()
        status, headers = status_of(response.status_code, parsed(raw)), dict[str, str]()
        call.too_long = is_too_long(status, raw)
        if (told := response.headers.get("x-should-retry")) in ("true", "false"):
            headers["x-should-retry"] = told
        is_cut = parsed(raw) is None and b'"choices"' in raw
        if response.is_success and (is_cut or is_paid(parsed(raw))):
            headers["x-should-retry"] = "false"  # it would be paid again
            raw = b"the reply was paid for, but it is cut off or no JSON" if is_cut else raw
        elif (wait := asked_wait(response.headers)) is not None:
            headers["retry-after-ms"] = str(wait * 1000)
            if call.deadline and (when := call.deadline.when()) is not None and wait <= LONGEST_WAIT:
                call.deadline.reschedule(when + wait)
        if problem := fatal(status, raw):
            where = f"{self._session.config.place}, model {self._session.config.model}"
            self._session.stop(UserError(problem[0], where=where, remedy=problem[1]))
        if self._session.stopped:
            headers["x-should-retry"] = "false"
        return httpx2.Response(status, headers=headers, content=raw, request=request)


def _changed(request: httpx2.Request, body: dict[str, Any], leave_out: frozenset[str]) -> httpx2.Request:
    """The request with a schema that lacks some keywords; its key stays that of the whole one."""
    headers = {name: value for name, value in request.headers.items() if name != "content-length"}
    content = json.dumps(without(body, leave_out), ensure_ascii=False).encode()
    extensions = request.extensions  # the timeouts
    return httpx2.Request(request.method, request.url, headers=headers, content=content, extensions=extensions)


def no_key(endpoint: str) -> UserError:
    """The error of a run that needs a key and has none."""
    variable = "OPEN_ROUTER_API_KEY" if endpoint == "openrouter" else "OPENAI_API_KEY"
    return UserError(
        f"replies are missing, and {variable} is not set.",
        where=endpoint,
        remedy=f"put {variable} into .env, or use recorded replies with llm.mode: replay.",
    )


@asynccontextmanager
async def open_client(
    session: Session, *, key: str | None, transport: httpx2.AsyncBaseTransport | None = None
) -> AsyncGenerator[openai.AsyncOpenAI]:
    """An openai client over the store; it belongs to the running event loop. In replay it has no network at all.

    Raises:
        UserError: a proxy or certificate variable of the environment cannot be used.
    """
    config = session.config
    timeout = httpx2.Timeout(config.request_timeout, connect=_CONNECT_SECONDS)
    if not session.online:
        transport = httpx2.MockTransport(_no_network)
    options: dict[str, Any] = {"transport": transport, "trust_env": False} if transport else {}
    base_url = httpx2.URL(_BASE_URLS.get(config.endpoint, config.endpoint))
    if base_url.userinfo:  # sent as a header: libraries put addresses into logs and errors
        options["auth"] = httpx2.BasicAuth(base_url.username, base_url.password)
    try:
        if not transport:
            options["verify"] = _certificates(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
        client = RecordingClient(session, timeout=timeout, **options)
    except (ValueError, OSError, ImportError, httpx2.InvalidURL) as error:
        raise _unusable_network(error) from None
    async with client as http:
        yield openai.AsyncOpenAI(
            api_key=key or "absent",
            base_url=base_url.copy_with(username=None, password=None),
            http_client=http,
            timeout=timeout,
            max_retries=config.retries,
        )


@cache
def _certificates(file: str | None, folder: str | None) -> ssl.SSLContext:
    """What is trusted under these settings of the environment; reading it takes longer than a whole replay."""
    return httpx2.create_ssl_context()


def _no_network(request: httpx2.Request) -> httpx2.Response:
    raise AssertionError("a replay has tried to reach the network")


def _unusable_network(error: Exception) -> UserError:
    names = {name for one in _NETWORK_VARIABLES for name in (one, one.lower()) if os.environ.get(name)}
    return UserError(
        f"the proxy or certificate settings of the environment cannot be used ({one_line(str(error))}).",
        where=", ".join(sorted(names)) or None,
        remedy="correct or unset these variables; recorded replies need none of them (llm.mode: replay).",
    )


def api_key(config: LLMConfig) -> str | None:
    """The key for an endpoint, from the environment or `.env`.

    A server named by its URL gets OPENAI_API_KEY over https or on this machine, and nothing over plain http.
    """
    settings = load_settings()
    if config.endpoint == "openrouter":
        secret = settings.open_router_api_key
    else:
        url = urlsplit(_BASE_URLS.get(config.endpoint, config.endpoint))
        private = url.scheme == "https" or url.hostname in ("localhost", "127.0.0.1", "::1")
        secret = settings.openai_api_key if private else None
    return secret.get_secret_value() if secret else None


def needs_key(config: LLMConfig) -> bool:
    """Whether the endpoint answers nobody without a key; a server named by its URL may."""
    return config.endpoint in _BASE_URLS


def structured(client: openai.AsyncOpenAI) -> instructor.AsyncInstructor:
    """The client with structured replies: strict JSON schemas, at every endpoint."""
    logging.getLogger("instructor.v2.retry").setLevel(logging.CRITICAL)  # it logs what we report as failures
    return from_openrouter(client, mode=instructor.Mode.JSON_SCHEMA)


def _unusable(error: Exception, session: Session) -> Exception:
    """What stops the run if a reply cannot be looked up or recorded."""
    if not isinstance(error, sqlite3.Error | OSError):
        return error
    return UserError(
        f"the ledger cannot be used ({error}).",
        where=str(session.store.ledger.path),
        remedy="see that the disk has room and the file can be written (MUP_LEDGER names another), then run again.",
    )


def _cap_reached(session: Session) -> UserError:
    cap, spent = session.config.max_cost_usd, session.meter.cost_usd
    return UserError(
        f"the next request could exceed llm.max_cost_usd: ${spent:,.4f} of ${cap:,.4f} is spent.",
        where=f"{session.config.place}, model {session.config.model}",
        remedy="raise the cap and run again: the replies so far are recorded and cost nothing more.",
    )


def _stop_asking(request: httpx2.Request, why: str) -> httpx2.Response:
    """A response that neither openai nor instructor retries."""
    return httpx2.Response(
        422, json={"error": {"message": why, "code": "mup"}}, headers={"x-should-retry": "false"}, request=request
    )
