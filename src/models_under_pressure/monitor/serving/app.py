"""The server's paths."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from models_under_pressure.core.errors import UserError
from models_under_pressure.monitor.live import Monitor
from models_under_pressure.monitor.log import Log
from models_under_pressure.monitor.serving.answers import Answer, model_row
from models_under_pressure.monitor.serving.asked import ChatRequest, ScoreRequest, chat_of, read_asked
from models_under_pressure.monitor.serving.engine import BusyError, Engine, Job, Work
from models_under_pressure.monitor.serving.guard import Guard, Limits, json_response, read_json, refused
from models_under_pressure.monitor.serving.metrics import Metrics
from models_under_pressure.monitor.serving.page import page
from models_under_pressure.monitor.serving.refusals import RefusalError, refusal_of
from models_under_pressure.monitor.serving.work import Ended, Said, assess, converse

_PATHS = ("/", "/healthz", "/metrics", "/v1/models", "/v1/chat/completions", "/v1/score")


def create_app(
    monitor: Monitor, engine: Engine, *, name: str, limits: Limits, stops: bool = False, log: Log | None = None
) -> FastAPI:
    """The server as an ASGI application; its lifespan starts and closes the engine.

    Args:
        monitor: the model and its probes.
        engine: not started yet.
        name: name of the model for clients.
        limits: what they may do.
        stops: whether a flag ends a reply.
        log: gets a line per reply.
    """
    metrics = Metrics(monitor.probes)
    shown = page()
    server = _Server(monitor, engine, name, limits, stops, log, metrics)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        engine.start()
        yield
        await asyncio.to_thread(engine.close)

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Guard, limits=limits, metrics=metrics, paths=_PATHS)
    for error in (RefusalError, UserError, BusyError, HTTPException, ClientDisconnect):
        app.add_exception_handler(error, _refuse)
    for path, get in (
        ("/", lambda: Response(shown.html, media_type="text/html", headers=shown.headers)),
        ("/healthz", server.health),
        ("/metrics", server.metrics_text),
        ("/v1/models", server.models),
        ("/v1/models/{name:path}", server.model),
    ):
        app.add_api_route(path, get, methods=["GET"], response_model=None)
    app.add_api_route("/v1/chat/completions", server.chat, methods=["POST"], response_model=None)
    app.add_api_route("/v1/score", server.score, methods=["POST"], response_model=None)
    return app


async def _refuse(_: Request, error: Exception) -> Response:
    if isinstance(error, ClientDisconnect):
        error = RefusalError(499, "the client has left.")
    elif isinstance(error, HTTPException):
        error = RefusalError(error.status_code, f"{error.detail}.", headers=dict(error.headers or {}))
    return refused(refusal_of(error))


class _Server:
    """What the paths do."""

    def __init__(
        self,
        monitor: Monitor,
        engine: Engine,
        name: str,
        limits: Limits,
        stops: bool,
        log: Log | None,
        metrics: Metrics,
    ) -> None:
        self._monitor, self._engine, self._name, self._limits = monitor, engine, name, limits
        self._stops, self._log, self._metrics = stops, log, metrics
        self._created = int(time.time())

    async def health(self) -> Response:
        """Whether the engine works."""
        is_well = self._engine.is_alive
        return json_response({"status": "ok" if is_well else "dead"}, status=200 if is_well else 503)

    async def metrics_text(self) -> Response:
        """The counts."""
        running, waiting = self._engine.counts
        text = self._metrics.text(running=running, waiting=waiting)
        return Response(text, media_type="text/plain; version=0.0.4")

    async def models(self) -> Response:
        """The one model that there is."""
        return json_response({"object": "list", "data": [self._row()]})

    async def model(self, name: str) -> Response:
        """That model by its name."""
        self._check(name)
        return json_response(self._row())

    async def chat(self, request: Request) -> Response:
        """A reply, whole or as a stream."""
        asked = read_asked(ChatRequest, await read_json(request, self._limits))
        self._check(asked.model)
        chat = chat_of(asked, most=self._limits.most_tokens)
        answer = Answer(chat, self._monitor, self._name, scores=asked.scores)
        work = partial(
            converse, monitor=self._monitor, chat=chat, stops=self._stops, log=self._log, metrics=self._metrics
        )
        if asked.stream:
            events = self._events(work, request.receive)
            chunks = _chunks(answer, events, usage=asked.stream_options.include_usage)
            return _Stream(await anext(chunks), chunks)
        said: list[Said] = []
        async with aclosing(self._events(work, request.receive)) as events:
            async for event in events:
                if isinstance(event, Ended):
                    return json_response(answer.whole(said, event))
                said.append(event)
        raise ClientDisconnect

    async def score(self, request: Request) -> Response:
        """The scores of finished conversations, each on its own: one that is refused stops no other."""
        asked = read_asked(ScoreRequest, await read_json(request, self._limits))
        self._check(asked.model or self._name)
        work = partial(assess, monitor=self._monitor, rows=asked.conversations)
        rows: list[dict[str, Any]] = []
        async for event in self._events(work, request.receive):
            row: dict[str, Any] = {"index": len(rows)}
            if isinstance(event, str):
                row["error"] = RefusalError(400, event).row["error"]
            else:
                row |= {"id": event.record.id, "scores": event.row["scores"]}
            rows.append(row)
        return json_response({"object": "list", "model": self._name, "data": rows})

    def _row(self) -> dict[str, Any]:
        return model_row(self._monitor, self._name, created=self._created, most=self._limits.most_tokens)

    def _check(self, name: str) -> None:
        if name != self._name:
            problem = f"there is no model {name!r} here, only {self._name!r}."
            raise RefusalError(404, problem, code="model_not_found", param="model")

    async def _events(self, work: Work, receive: Receive) -> AsyncGenerator[Any]:
        """What a job yields, until its end or until who asked has left."""
        loop, queue = asyncio.get_running_loop(), asyncio.Queue[Any]()

        def tell(event: Any) -> None:
            with suppress(RuntimeError):  # the loop was closed: a second signal ended the server at once
                loop.call_soon_threadsafe(queue.put_nowait, event)

        job = Job(work, tell)
        self._engine.submit(job)
        gone = asyncio.create_task(_until_gone(receive, queue))
        try:
            while (event := await queue.get()) is not None:
                if isinstance(event, Exception):
                    raise refusal_of(event)
                yield event
        finally:
            job.leave()
            gone.cancel()


async def _until_gone(receive: Receive, queue: asyncio.Queue[Any]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    queue.put_nowait(None)


async def _chunks(answer: Answer, events: AsyncGenerator[Any], *, usage: bool) -> AsyncGenerator[bytes]:
    """Server-sent events; the first comes with the first token, so that a refusal has a status of its own."""
    is_first = True
    async with aclosing(events):
        try:
            async for event in events:
                if is_first:
                    yield _sent(answer.opening())
                is_first = False
                if not isinstance(event, Ended):
                    if (chunk := answer.chunk(event)) is not None:
                        yield _sent(chunk)
                    continue
                for chunk in answer.closing(event):
                    yield _sent(chunk)
                if usage:
                    yield _sent(answer.usage(event))
                yield b"data: [DONE]\n\n"
        except RefusalError as error:
            if is_first:
                raise
            yield _sent(error.row)
    if is_first:
        raise ClientDisconnect


def _sent(row: object) -> bytes:
    return b"data: " + json.dumps(row, allow_nan=False).encode() + b"\n\n"


class _Stream(Response):
    """Parts that are sent as they come."""

    def __init__(self, first: bytes, rest: AsyncGenerator[bytes]) -> None:
        super().__init__(media_type="text/event-stream")
        del self.headers["content-length"]
        self._first, self._rest = first, rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send them; when sending is given up, so is what makes them."""
        async with aclosing(self._rest):
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await send({"type": "http.response.body", "body": self._first, "more_body": True})
            async for part in self._rest:
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
