"""State of one run over many questions: limits, counts, and the reason to stop early."""

import asyncio
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from math import ceil
from time import monotonic
from typing import Any

from pydantic import BaseModel

from models_under_pressure.core.display import notice
from models_under_pressure.core.errors import UserError
from models_under_pressure.llm.ask import Ask, Failure
from models_under_pressure.llm.config import LLMConfig, cost_of, price_of
from models_under_pressure.llm.redact import Redactor, known_secrets
from models_under_pressure.llm.reply import Kind, Usage
from models_under_pressure.llm.store import ReplyStore, Request

_BURST_SECONDS = 0.5
"""Time lost up to this much is made up for, so that late wake-ups do not lower the rate."""
_LOOK_SECONDS = 0.05
"""Longest sleep before looking again whether a correction has shortened the wait."""

_BREAK_AFTER = 5
"""Failures in a row, without a success, that show that the fault is not in the questions."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Pace:
    """Lets units through at a fixed rate (generic cell rate algorithm); None lets everything through."""

    def __init__(self, per_minute: float | None, *, clock: Callable[[], float] = monotonic) -> None:
        self._interval = 60 / per_minute if per_minute else 0.0
        self._clock = clock
        self._next = clock()
        """When the next unit may pass, in the clock's seconds."""
        self._turn = asyncio.Lock()

    def pending(self) -> float:
        """Seconds until the next unit may pass."""
        return max(0.0, self._next - self._clock())

    def take(self, amount: float = 1.0) -> None:
        """Let `amount` units pass now; the units after them wait the longer."""
        self._next = max(self._next, self._clock() - _BURST_SECONDS) + amount * self._interval

    def correct(self, difference: float) -> None:
        """Count `difference` units more (or fewer, if negative) than were taken."""
        self._next += difference * self._interval

    async def wait(self, amount: float = 1.0) -> None:
        """Sleep until the next unit may pass, first come, first served, then take `amount` units."""
        if not self._interval:
            return
        async with self._turn:
            while (seconds := self.pending()) > 0:
                await asyncio.sleep(min(seconds, _LOOK_SECONDS))
            self.take(amount)


class Meter:
    """Counts requests, tokens and cost, and keeps the cost below the cap."""

    def __init__(self, config: LLMConfig) -> None:
        self._price, self._cap, self._max_tokens = config.price, config.max_cost_usd, config.max_tokens
        self._reserved = 0.0
        self._settled = asyncio.Condition()
        self.requests = 0
        self.input_tokens = 0
        self.output_tokens = 0
        self.cost_usd = 0.0
        self._replies = 0
        self._replays = 0
        self._replayed_output = 0

    def replayed(self, usage: Usage | None) -> None:
        """Note the size of a recorded reply."""
        if usage is not None:
            self._replays += 1
            self._replayed_output += usage.output_tokens

    @property
    def mean_output_tokens(self) -> int | None:
        """Mean length of the recorded replies; None if there are none."""
        return ceil(self._replayed_output / self._replays) if self._replays else None

    @property
    def usual_output_tokens(self) -> int:
        """Mean length of the replies of this run so far; `max_tokens` before the first."""
        return ceil(self.output_tokens / self._replies) if self._replies else self._max_tokens

    async def reserve(self, tokens_in: int) -> float | None:
        """Set aside the most that a request can cost, in US dollars; None if the cap forbids it.

        While other requests are under way their unused reserve may still return, so it waits for them.
        """
        most = price_of(tokens_in, self._max_tokens, self._price) if self._price else 0.0
        async with self._settled:
            while self._cap is not None and self.cost_usd + self._reserved + most > self._cap:
                if self._reserved <= 1e-12:
                    return None
                await self._settled.wait()
            self._reserved += most
        return most

    async def settle(self, reserve: float, usage: Usage | None) -> None:
        """Give a reserve back, and count what the request really used."""
        async with self._settled:
            self._reserved -= reserve
            self.requests += 1
            if usage is not None:
                self._replies += 1
                self.input_tokens += usage.input_tokens
                self.output_tokens += usage.output_tokens
                self.cost_usd += cost_of(usage, self._price) or 0.0
            self._settled.notify_all()


@dataclass
class Call:
    """One question on its way; the HTTP client finds it in `CURRENT_CALL` and notes what happened."""

    index: int
    record_id: str
    sample: int
    form: type[BaseModel]
    """The form of its reply."""
    fresh: bool
    """Whether it is asked even if a reply is recorded."""
    requests: int = 0
    """Requests sent for it."""
    sending: bool = False
    """Whether a request is under way now: it is paid for, so it must not be cut off."""
    missing: Request | None = None
    """The request that has no recorded reply."""
    too_long: bool = False
    """Whether it was rejected for its length, which says nothing of other questions."""
    complaint: str | None = None
    """Why its first reply does not hold what was asked for."""
    ended: tuple[Kind, str] | None = None
    """The outcome, if the reply says that there is no answer."""
    deadline: asyncio.Timeout | None = None


CURRENT_CALL: ContextVar[Call] = ContextVar("current_call")
"""Handed on out of band, so that record ids and sample numbers never reach the wire."""


@dataclass
class Session:
    """One run over many questions."""

    config: LLMConfig
    store: ReplyStore
    online: bool
    """Whether missing replies may be asked for."""
    has_key: bool = True
    meter: Meter = field(init=False)
    redactor: Redactor = field(init=False)
    """Takes the secrets of this process out of whatever the endpoint sends."""
    refused: frozenset[str] = field(default=frozenset(), init=False)
    """Keywords of schemas that the endpoint has refused."""
    stopped: Exception | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.meter = Meter(self.config)
        self.redactor = Redactor(known_secrets(self.config.endpoint) if self.online else {})
        self.requests_pace = Pace(self.config.requests_per_minute)
        self.tokens_pace = Pace(self.config.tokens_per_minute)
        self._active: dict[asyncio.Task[None], Call] = {}
        self._successes = 0
        self._lost_in_a_row = 0
        self._rejected = 0

    def call(self, index: int, ask: Ask[Any]) -> Call:
        """Begin a question in the current task."""
        fresh = self.config.mode == "refresh" and fnmatchcase(ask.record_id, self.config.refresh_ids)
        call = Call(index, ask.record_id, ask.sample, ask.reply, fresh)
        task = asyncio.current_task()
        assert task is not None
        self._active[task] = call
        CURRENT_CALL.set(call)
        return call

    def stop(self, error: Exception) -> None:
        """End the run: no new requests; what is under way is awaited and recorded, what sleeps is cancelled."""
        if self.stopped is not None:
            return
        self.stopped = error
        current = asyncio.current_task()
        for task, call in self._active.items():
            if task is not current and not call.sending:
                task.cancel()

    def observe(self, call: Call, failure: Failure | None) -> None:
        """Count how a question ended, and stop if the fault is evidently not in the questions."""
        if call.requests == 0:
            return
        kind = failure.kind if failure else None
        is_rejected = kind == "rejected" and not call.too_long
        self._lost_in_a_row = self._lost_in_a_row + 1 if kind in ("transport", "timeout") else 0
        self._rejected += is_rejected
        self._successes += kind not in ("transport", "timeout", "rejected")
        reason = failure.detail.rstrip(".") if failure else ""
        if self._lost_in_a_row >= max(_BREAK_AFTER, self.config.concurrency):
            self.stop(
                UserError(
                    f"the last {self._lost_in_a_row} questions all failed ({kind}): {reason}.",
                    where=self.config.place,
                    remedy="see that the endpoint is up, then run again: answered questions are not asked twice.",
                )
            )
        if is_rejected and self._rejected >= _BREAK_AFTER and self._successes == 0:
            self.stop(
                UserError(
                    f"the first {self._rejected} questions were all rejected: {reason}.",
                    where=f"{self.config.place}, model {self.config.model}",
                    remedy="correct what the endpoint names: the model, a sampling parameter (null leaves it out), or "
                    "an endpoint that takes no strict JSON schemas.",
                )
            )


@contextmanager
def stops_on_signals(session: Session) -> Generator[None]:
    """Let the first signal stop the run, so that requests under way are awaited; a second one ends it at once."""
    if threading.current_thread() is not threading.main_thread():  # only there Python hears of signals
        yield
        return
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def stop() -> None:
        if session.stopped is None:
            notice("interrupted: waiting for the requests under way; once more to give them up")
            session.stop(UserError("interrupted.", remedy="run again to go on from here."))
        else:
            task.cancel()

    for number in _SIGNALS:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
            signal.signal(number, before[number])
