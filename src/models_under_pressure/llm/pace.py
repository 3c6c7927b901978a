"""Keeping to a rate: so many units a minute, evenly spread."""

import asyncio
from collections.abc import Callable
from time import monotonic

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
