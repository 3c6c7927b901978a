"""Batches in several threads at once, each smaller where memory does not hold it."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from models_under_pressure.activations.hardware import is_out_of_memory

T = TypeVar("T")


def run_batches(
    batches: Sequence[list[int]],
    run: Callable[[list[int]], T],
    *,
    workers: int,
    out_of_memory: Callable[[list[int], Exception], None],
) -> Iterator[tuple[list[int], T]]:
    """Yield every batch with its result, in any order; a batch that memory does not hold is run as two halves.

    Args:
        batches: indices of the records of each batch.
        run: the work, called from the workers' threads.
        workers: threads.
        out_of_memory: told of each batch that is too large, and the error; raises if it cannot be halved.
    """
    pending = list(reversed(batches))
    running: dict[Future[T], list[int]] = {}
    with ThreadPoolExecutor(workers) as pool:
        while pending or running:
            while pending and len(running) <= workers:  # one waits, so that no core does
                batch = pending.pop()
                running[pool.submit(run, batch)] = batch
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                batch = running.pop(future)
                try:
                    result = future.result()
                except (RuntimeError, MemoryError) as error:
                    if not is_out_of_memory(error):
                        raise
                    out_of_memory(batch, error)
                    middle = len(batch) // 2
                    pending += [batch[middle:], batch[:middle]]
                    continue
                yield batch, result
