"""One thread that has the model: works on several requests in turn, one step of each, and refuses those too many.

A step is one forward pass: a prompt read, a token written, a conversation scored. Requests share the processor, never a
batch: a batched product of matrices rounds otherwise than that of one row, and every answer is to be the one that is
computed alone, to the last bit, whatever else the server does.
"""

import math
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from models_under_pressure.core.display import notice
from models_under_pressure.core.errors import UserError, first_line

_LONGEST_WAIT = 120
"""Seconds that a refused client is told to wait at most."""
_MEMORY = 0.2
"""Weight of the latest request in the running mean of their durations."""

Work: TypeAlias = "Callable[[Job], Iterator[Any]]"
"""Makes the steps of a job; what they yield is told to who asked."""


class BusyError(Exception):
    """There are as many requests as the server takes."""

    def __init__(self, wait: int) -> None:
        super().__init__("the server has as many requests as it takes")
        self.wait = wait
        """Seconds after which there may be room."""


class Job:
    """A request in the engine."""

    def __init__(self, work: Work, tell: Callable[[Any], None]) -> None:
        """Describe a request.

        Args:
            work: its steps.
            tell: called in the engine's thread with what each step yields, with an error, and with None at the end.
        """
        self.tell = tell
        self.left = False
        """Whether who asked has gone; the work ends at its next step."""
        self.begun: float | None = None
        self.steps = work(self)

    def leave(self) -> None:
        """Nobody waits for the answer any more."""
        self.left = True


class Engine:
    """The thread; start it with `start`, end it with `close`."""

    def __init__(self, *, at_once: int, waiting: int) -> None:
        """Describe how much there may be.

        Args:
            at_once: requests that are worked on in turn.
            waiting: requests that wait for their turn.
        """
        self._at_once, self._most_waiting = at_once, waiting
        self._waiting, self._running = deque[Job](), list[Job]()
        self._change = threading.Condition()
        self._closing = False
        self._duration = 1.0
        self._thread = threading.Thread(target=self._work, name="mup-engine", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def close(self) -> None:
        """Take no more requests, work off those that there are, and end."""
        with self._change:
            self._closing = True
            self._change.notify()
        self._thread.join()

    @property
    def is_alive(self) -> bool:
        """Whether it works."""
        return self._thread.is_alive()

    @property
    def counts(self) -> tuple[int, int]:
        """Requests that are worked on, and that wait."""
        return len(self._running), len(self._waiting)

    def submit(self, job: Job) -> None:
        """Work on a request as soon as there is room.

        Raises:
            BusyError: too many wait already, or the engine was closed.
        """
        with self._change:
            if self._closing:
                raise BusyError(_LONGEST_WAIT)
            self._waiting = deque(one for one in self._waiting if not one.left)
            ahead = len(self._waiting) + len(self._running)
            if ahead >= self._at_once + self._most_waiting:
                turns = self._duration * ahead / self._at_once
                raise BusyError(min(_LONGEST_WAIT, max(1, math.ceil(turns))))
            self._waiting.append(job)
            self._change.notify()

    def _work(self) -> None:
        while self._admit():
            self._running = [job for job in self._running if not self._ends(job)]

    def _admit(self) -> bool:
        """Fill up the jobs that run; waits while there is none, and is false at the end."""
        with self._change:
            while not (self._waiting or self._running or self._closing):
                self._change.wait()
            while self._waiting and len(self._running) < self._at_once:
                job = self._waiting.popleft()
                if not job.left:
                    job.begun = time.monotonic()
                    self._running.append(job)
            return bool(self._running or self._waiting or not self._closing)

    def _ends(self, job: Job) -> bool:
        """Take one step of a job; whether it was the last."""
        try:
            job.tell(next(job.steps))
        except StopIteration:
            took = time.monotonic() - (job.begun or 0.0)
            self._duration += _MEMORY * (took - self._duration)
            job.tell(None)
        except UserError as error:
            job.tell(error)
        except Exception as error:  # one request's failure must not end the others
            notice(f"mup serve: {first_line(error)}\n{traceback.format_exc()}")
            job.tell(error)
        else:
            return False
        return True
