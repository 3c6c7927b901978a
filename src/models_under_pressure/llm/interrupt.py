"""Ending a run on Ctrl-C or SIGTERM without losing what is paid for."""

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.progress import notice
from models_under_pressure.llm.session import Session

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stops_on_signals(session: Session) -> Iterator[None]:
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
