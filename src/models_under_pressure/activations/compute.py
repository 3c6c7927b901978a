"""Computing the activations of one window."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Int64

from models_under_pressure.activations.forward import Forward, Kept
from models_under_pressure.activations.tokens import TokenisedRecord
from models_under_pressure.activations.windows import Window


class WindowComputer:
    """Computes windows one after the other, and keeps what a record that crosses a border needs on both sides.

    Such a record goes through the model alone, so that it gets the same numbers from whichever window asks: a window
    computed by another process, or after an interruption, has the same bytes.
    """

    def __init__(
        self, forward: Forward, tokenised: Mapping[int, TokenisedRecord], offsets: Int64[np.ndarray, "records_plus_1"]
    ) -> None:
        self._forward, self._tokenised, self._offsets = forward, tokenised, offsets
        self._crossing: dict[int, dict[int, Kept]] = {}

    def compute(self, window: Window) -> dict[int, Kept]:
        """The rows of a window, by layer."""
        result: dict[int, Kept] = {}
        crossing = {index: self._alone(index) for index in window.crossing}
        for index, values in crossing.items():
            self._place(result, window, index, values)
        inside = {index: self._tokenised[index] for index in window.inside}
        for index, values in self._forward.run(inside):
            self._place(result, window, index, values)
        self._crossing = {
            index: values for index, values in crossing.items() if self._offsets[index + 1] > window.last_row
        }
        return result

    def _alone(self, index: int) -> dict[int, Kept]:
        if index in self._crossing:
            return self._crossing[index]
        ((_, values),) = self._forward.run({index: self._tokenised[index]})
        return values

    def _place(self, result: dict[int, Kept], window: Window, index: int, values: dict[int, Kept]) -> None:
        first, last = int(self._offsets[index]), int(self._offsets[index + 1])
        start, stop = max(first, window.first_row), min(last, window.last_row)
        for layer, rows in values.items():
            if layer not in result:
                result[layer] = np.empty((window.last_row - window.first_row, rows.shape[1]), dtype=rows.dtype)
            result[layer][start - window.first_row : stop - window.first_row] = rows[start - first : stop - first]
