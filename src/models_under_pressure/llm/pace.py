"""Keeping to a rate: so many units a minute, evenly spread."""

import asyncio
from collections.abc import Callable
from time import monotonic

_BURST_SECONDS = 0.25
"""Time lost up to this much is made up for, so that a late wake-up does not lower the rate."""


class Pace:
    """Lets units through at a fixed rate (generic cell rate algorithm); None lets everything through."""

    def __init__(self, per_minute: float | None, *, clock: Callable[[], float] = monotonic) -> None:
        self._interval = 60 / per_minute if per_minute else 0.0
        self._clock = clock
        self._next = float("-inf")
        """When the next unit may pass, in the clock's seconds."""

    def reserve(self, amount: float = 1.0) -> float:
        """Take `amount` units and return the seconds to wait before using them."""
        now = self._clock()
        start = max(self._next, now - _BURST_SECONDS) if self._next > float("-inf") else now
        self._next = start + amount * self._interval
        return max(0.0, start - now)

    def correct(self, difference: float) -> None:
        """Take `difference` units more (or fewer, if negative) than were reserved."""
        self._next += difference * self._interval

    async def wait(self, amount: float = 1.0) -> None:
        """Take `amount` units and sleep until they may be used."""
        if self._interval and (seconds := self.reserve(amount)) > 0:
            await asyncio.sleep(seconds)
