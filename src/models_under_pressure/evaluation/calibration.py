"""Calibration: do events forecast at probability p happen a share p of the time?"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

Binning = Literal["equal width", "equal mass"]

EQUAL_WIDTH: Binning = "equal width"
EQUAL_MASS: Binning = "equal mass"


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """One point of a reliability diagram."""

    low: float
    high: float
    n: int
    positives: int
    forecast: float
    """Mean probability of the bin's records."""
    observed: float
    """Share of them that are high-stakes."""


def bin_of(
    probabilities: Float[np.ndarray, "records"], bins: int, binning: Binning = EQUAL_WIDTH
) -> tuple[Int[np.ndarray, "records"], Float[np.ndarray, "edges"]]:
    """Bin of each record and the bins' edges; 1.0 falls into the last bin, equal values into one bin."""
    if binning == EQUAL_WIDTH:
        edges = np.linspace(0.0, 1.0, bins + 1)
    else:
        edges = np.unique(np.quantile(probabilities, np.linspace(0.0, 1.0, bins + 1)))
    inner = edges[1:-1]
    return np.searchsorted(inner, probabilities, side="right"), edges


def bin_gaps(
    probabilities: Float[np.ndarray, "records"],
    labels: Bool[np.ndarray, "records"],
    bins: int,
    binning: Binning = EQUAL_WIDTH,
) -> Float[np.ndarray, "records bins"]:
    """Label minus probability, in the column of the record's bin: |column sums| over n add up to the ECE."""
    index, edges = bin_of(probabilities, bins, binning)
    gaps = np.zeros((len(labels), max(len(edges) - 1, 1)))
    gaps[np.arange(len(labels)), index] = labels - probabilities
    return gaps


def calibration_error(
    probabilities: Float[np.ndarray, "records"], labels: Bool[np.ndarray, "records"], bins: int, binning: Binning
) -> float:
    """Expected calibration error: over bins, |observed - forecast| weighted by the bin's share of records.

    Naeini, Cooper and Hauskrecht 2015 (equal width); Nguyen and O'Connor 2015 (equal mass).
    """
    return float(np.abs(bin_gaps(probabilities, labels, bins, binning).sum(axis=0)).sum() / len(labels))


def reliability(
    probabilities: Float[np.ndarray, "records"],
    labels: Bool[np.ndarray, "records"],
    bins: int = 10,
    binning: Binning = EQUAL_WIDTH,
) -> list[ReliabilityBin]:
    """The bins that hold records, by rising probability."""
    index, edges = bin_of(probabilities, bins, binning)
    found = []
    for number in np.unique(index):
        inside = index == number
        found.append(
            ReliabilityBin(
                low=float(edges[number]),
                high=float(edges[min(number + 1, len(edges) - 1)]),
                n=int(inside.sum()),
                positives=int(labels[inside].sum()),
                forecast=float(probabilities[inside].mean()),
                observed=float(labels[inside].mean()),
            )
        )
    return found
