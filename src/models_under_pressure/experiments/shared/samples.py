"""Balanced samples of growing size, each inside the next."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int64

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import stable_hash

BY_SIZE = ("method", "kind", "size", "repeats")
"""Columns of rows by sample size whose mean over datasets is taken."""


def nested_samples(
    labels: Bool[np.ndarray, "records"], sizes: Sequence[int], generator: np.random.Generator
) -> dict[int, Int64[np.ndarray, "rows"]]:
    """Size -> rows, half of them high-stakes; a smaller sample is part of every larger one.

    Sizes beyond `largest_sample` are left out, since they cannot be balanced.

    Raises:
        UserError: a size is odd or not positive, or none is small enough.
    """
    wrong = [size for size in sizes if size < 2 or size % 2]
    if wrong:
        raise UserError(f"{wrong[0]} records cannot be half high-stakes.", remedy="give even sizes of at least 2.")
    most = largest_sample(labels)
    possible = [size for size in sorted(set(sizes)) if size <= most]
    if not possible:
        raise UserError(
            f"{len(labels)} records give a balanced sample of at most {most}.", remedy="ask for smaller samples."
        )
    order = [generator.permutation(np.flatnonzero(labels == value)) for value in (True, False)]
    return {size: np.sort(np.concatenate([rows[: size // 2] for rows in order])) for size in possible}


def largest_sample(labels: Bool[np.ndarray, "records"]) -> int:
    """Records of the largest balanced sample."""
    return 2 * min(int(labels.sum()), int((~labels).sum()))


def generator_of(seed: int, repeat: int, name: str) -> np.random.Generator:
    """The generator of one repeat on one dataset, which no other repeat, size or dataset can shift."""
    return np.random.default_rng([seed, repeat, int(stable_hash(name)[:8], 16)])
