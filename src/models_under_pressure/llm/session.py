"""State of one run over many questions: limits, counts, and the reason to stop early."""

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from time import monotonic

from models_under_pressure.core.errors import UserError
from models_under_pressure.llm.batch import Request
from models_under_pressure.llm.config import LLMConfig, Meter
from models_under_pressure.llm.reply import Kind
from models_under_pressure.llm.store import ReplyStore

_BURST_SECONDS = 0.5
"""Time lost up to this much is made up for, so that late wake-ups do not lower the rate."""
_LOOK_SECONDS = 0.05
"""Longest sleep before looking again whether a correction has shortened the wait."""


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


_BREAK_AFTER = 5
"""Failures in a row, without a success, that show that the fault is not in the questions."""


@dataclass
class Call:
    """One question on its way; the HTTP client finds it in `CURRENT_CALL` and notes what happened."""

    index: int
    record_id: str
    sample: int
    fresh: bool
    """Whether recorded replies are passed over."""
    requests: int = 0
    """Requests sent for it."""
    sending: bool = False
    """Whether a request is under way now: it is paid for, so it must not be cut off."""
    missing: Request | None = None
    """The request that has no recorded reply."""
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
    stopped: Exception | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.meter = Meter(self.config)
        self.requests_pace = Pace(self.config.requests_per_minute)
        self.tokens_pace = Pace(self.config.tokens_per_minute)
        self._active: dict[asyncio.Task[None], Call] = {}
        self._successes = 0
        self._lost_in_a_row = 0
        self._rejected = 0

    def call(self, index: int, record_id: str, sample: int) -> Call:
        """Begin a question in the current task."""
        fresh = self.config.mode == "refresh" and fnmatchcase(record_id, self.config.refresh_ids)
        call = Call(index, record_id, sample, fresh)
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

    def observe(self, call: Call, kind: Kind | None) -> None:
        """Count how a question ended, and stop if the fault is evidently not in the questions."""
        if call.requests == 0:
            return
        self._lost_in_a_row = self._lost_in_a_row + 1 if kind in ("transport", "timeout") else 0
        self._rejected += kind == "rejected"
        self._successes += kind not in ("transport", "timeout", "rejected")
        if self._lost_in_a_row >= max(_BREAK_AFTER, self.config.concurrency):
            self.stop(
                UserError(
                    f"the last {self._lost_in_a_row} questions all failed ({kind}).",
                    where=self.config.endpoint,
                    remedy="see that the endpoint is up, then run again: answered questions are not asked twice.",
                )
            )
        if self._rejected >= _BREAK_AFTER and self._successes == 0:
            self.stop(
                UserError(
                    f"the first {self._rejected} questions were all rejected.",
                    where=f"{self.config.endpoint}, model {self.config.model}",
                    remedy="see that the model exists there, takes strict JSON schemas and the sampling parameters.",
                )
            )
