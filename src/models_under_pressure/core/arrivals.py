"""Items of a slow source, taken as they come."""

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from queue import Queue
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class _End:
    """Nothing more comes."""

    error: Exception | None


def as_they_come(items: Iterable[T], most: int) -> Iterator[list[T]]:
    """Yield lists of the items that have come, `most` at a time, in their order; none waits for one that has not come.

    A thread reads the source, two lists ahead at most. What the source raises is raised after the items before it.
    """
    queue: Queue[Any] = Queue(maxsize=2 * most)
    threading.Thread(target=_read, args=(items, queue), name="arrivals", daemon=True).start()
    while True:
        found = [queue.get()]
        while len(found) < most and not isinstance(found[-1], _End) and not queue.empty():
            found.append(queue.get())
        end = found.pop() if isinstance(found[-1], _End) else None
        if found:
            yield found
        if end is not None:
            if end.error is not None:
                raise end.error
            return


def _read(items: Iterable[object], queue: "Queue[Any]") -> None:
    error: Exception | None = None
    try:
        for item in items:
            queue.put(item)
    except Exception as raised:  # it is raised where somebody sees it
        error = raised
    queue.put(_End(error))
