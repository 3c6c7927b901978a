"""Some records of some activations, read where they lie: subsets and joins without a copy."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32, Int, Int8, Int32

from models_under_pressure.activations.ragged import Activations, ArrayActivations
from models_under_pressure.probes.tokens import token_ids


class View:
    """`Activations` made of chosen records of others, in the order given; a record may be chosen several times."""

    def __init__(self, parts: Sequence[tuple[Activations, Int[np.ndarray, "rows"]]]) -> None:
        """Choose records.

        Args:
            parts: activations, and the indices of the records to take from them.
        """
        self._sources = [source for source, _ in parts]
        self._source_of = np.repeat(np.arange(len(parts)), [len(rows) for _, rows in parts])
        starts = [np.asarray(source.offsets)[:-1][rows] for source, rows in parts]
        ends = [np.asarray(source.offsets)[1:][rows] for source, rows in parts]
        self._starts = np.concatenate(starts).astype(np.int64)
        lengths = np.concatenate(ends) - self._starts
        self.offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        self.ids: Sequence[str] = [source.ids[int(row)] for source, rows in parts for row in rows]

    @property
    def hidden(self) -> int:
        """Width of an activation."""
        return self._sources[0].hidden

    @property
    def attributes(self) -> Mapping[str, Any]:
        """Provenance of the first part."""
        return self._sources[0].attributes

    @property
    def roles(self) -> Int8[np.ndarray, "tokens"]:
        """Role code of each token."""
        return self._gather([np.asarray(source.roles) for source in self._sources])

    @property
    def token_ids(self) -> Int32[np.ndarray, "tokens"]:
        """Token ids.

        Raises:
            UserError: a part comes without them.
        """
        return self._gather([token_ids(source) for source in self._sources])

    def read(self, start: int, stop: int) -> Float32[np.ndarray, "tokens hidden"]:
        """The activations of the tokens from `start` up to but not including `stop`."""
        pieces = [self._sources[number].read(first, last) for number, first, last in self._pieces(start, stop)]
        if len(pieces) == 1:
            return pieces[0]
        return np.concatenate([np.empty((0, self.hidden), dtype=np.float32), *pieces])

    def _gather(self, columns: Sequence[np.ndarray]) -> np.ndarray:
        total = int(self.offsets[-1])
        return np.concatenate([columns[number][first:last] for number, first, last in self._pieces(0, total)])

    def _pieces(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """(source, first token, last token) of the runs that make up a span; neighbours in a source are one run."""
        run: tuple[int, int, int] | None = None
        record = int(np.searchsorted(self.offsets, start, side="right")) - 1
        while start < stop:
            end = min(stop, int(self.offsets[record + 1]))
            shift = int(self._starts[record] - self.offsets[record])
            piece = int(self._source_of[record]), start + shift, end + shift
            if run is not None and run[0] == piece[0] and run[2] == piece[1]:
                run = run[0], run[1], piece[2]
            else:
                if run is not None:
                    yield run
                run = piece
            start, record = end, record + 1
        if run is not None:
            yield run


def in_memory(activations: Activations, most_gib: float) -> Activations:
    """The activations read once into memory, or as they are when they are larger than `most_gib` as float32."""
    tokens = int(activations.offsets[-1])
    if 4 * tokens * activations.hidden > most_gib * 2**30:
        return activations
    return ArrayActivations(
        values=activations.read(0, tokens),
        offsets=np.asarray(activations.offsets),
        ids=activations.ids,
        roles=np.asarray(activations.roles),
        attributes=activations.attributes,
        token_ids=getattr(activations, "token_ids", None),
    )
