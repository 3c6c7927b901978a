"""Which records go through the model together, on how many cores."""

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from jaxtyping import Int64

from models_under_pressure.activations.packing import rotates_by_length

if TYPE_CHECKING:
    import torch

    from models_under_pressure.activations.config import LoadedModel


T = TypeVar("T")


def plan_batches(lengths: "Int64[np.ndarray, 'records']", *, budget: int, packing: bool) -> list[list[int]]:
    """Indices of the records of each forward pass, under a budget of tokens; a longer record is a pass of its own.

    Args:
        lengths: tokens of each record.
        budget: tokens of one pass, padding included.
        packing: whether records share a row without padding.
    """
    order = np.argsort(-lengths, kind="stable").tolist()
    return (_bins if packing else _rows)(order, lengths, budget)


def _rows(order: Sequence[int], lengths: np.ndarray, budget: int) -> list[list[int]]:
    """Neighbours in length, padded to the longest."""
    groups: list[list[int]] = []
    for record in order:
        if groups and (len(groups[-1]) + 1) * padded_length(int(lengths[groups[-1][0]])) <= budget:
            groups[-1].append(record)
        else:
            groups.append([record])
    return groups


def _bins(order: Sequence[int], lengths: np.ndarray, budget: int) -> list[list[int]]:
    """First fit, longest first: at most 22 % more bins than the best packing (Johnson 1973)."""
    groups: list[list[int]] = []
    free: list[int] = []
    first_open = 0
    for record in order:
        length = int(lengths[record])
        while first_open < len(free) and free[first_open] < int(lengths[order[-1]]):
            first_open += 1  # too full for even the shortest
        fit = next((index for index in range(first_open, len(free)) if free[index] >= length), None)
        if fit is None:
            groups.append([record])
            free.append(budget - length)
        else:
            groups[fit].append(record)
            free[fit] -= length
    return groups


_TILE = 64
"""Attention kernels work in tiles of up to 64 queries; rows padded to whole tiles get the same numbers from any
longest neighbour."""


def padded_length(length: int) -> int:
    """Length of a padded row: whole tiles."""
    return -(-length // _TILE) * _TILE


def batch_budget(device: str) -> int:
    """Tokens of one forward pass: on a CPU what its caches hold, on a GPU what keeps its cores busy.

    1,024 per pass were the fastest on one CPU core, twice that on two. A GPU that cannot hold its budget shrinks it.
    """
    import torch

    if device != "cpu":
        return 16_384
    return 1_024 if torch.get_num_threads() == 1 else 2_048


@contextmanager
def side_by_side(model: "LoadedModel") -> Generator[int]:
    """How many batches may go through the model at once: one per core of a CPU, each with matrix products of its own.

    Batches that run side by side never wait for one another, as the cores that share one product do; and no number
    depends on how many cores a machine has. A model of which a part remembers the batch before runs one at a time.
    """
    import torch

    cores = torch.get_num_threads()
    if model.device != "cpu" or model.quantization != "none" or rotates_by_length(model.model):
        yield 1
        return
    torch.set_num_threads(1)
    try:
        yield cores
    finally:
        torch.set_num_threads(cores)


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
                    if not _is_out_of_memory(error):
                        raise
                    out_of_memory(batch, error)
                    middle = len(batch) // 2
                    pending += [batch[middle:], batch[:middle]]
                    continue
                yield batch, result


def _is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory ran out; the CPU's allocator raises a plain RuntimeError."""
    import torch

    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def padded_inputs(batch: Sequence[np.ndarray], device: Any) -> "dict[str, torch.Tensor]":
    """Right padding needs no attention mask: a causal model's tokens see nothing to their right."""
    import torch

    rows = np.zeros((len(batch), padded_length(max(map(len, batch)))), dtype=np.int64)
    for row, tokens in zip(rows, batch, strict=True):
        row[: len(tokens)] = tokens
    return {"input_ids": torch.as_tensor(rows).to(device)}
