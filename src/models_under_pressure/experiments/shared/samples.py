"""Labelled records as experiments draw samples of them, and the check that nothing tested is trained on."""

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
from jaxtyping import Bool, Int64

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import stable_hash
from models_under_pressure.core.records import Record, to_row


class Labelled(Protocol):
    """A dataset with the labels and groups of its records."""

    @property
    def name(self) -> str:
        """Name of the dataset."""
        ...

    @property
    def records(self) -> Sequence[Record]:
        """The conversations."""
        ...

    @property
    def labels(self) -> Bool[np.ndarray, "records"]:
        """True for the positive class."""
        ...

    @property
    def groups(self) -> Sequence[str]:
        """What intervals keep together."""
        ...


def check_unseen(training: Iterable[Labelled], test: Labelled) -> None:
    """Refuse to train on what is tested on.

    Raises:
        UserError: a conversation of `test` is among the training records, whatever its id.
    """
    tested = {_content(record): record.id for record in test.records}
    for part in training:
        for record in part.records:
            if (seen := tested.get(_content(record))) is not None:
                raise UserError(
                    f"record {record.id!r} of {part.name} is the conversation {seen!r} of {test.name}, which is "
                    "tested on.",
                    remedy="run `mup check_overlap`, and leave the conversation out of one of the two.",
                )


def _content(record: Record) -> str:
    return stable_hash(to_row(record)["inputs"])


def nested_samples(
    labels: Bool[np.ndarray, "records"], sizes: Sequence[int], generator: np.random.Generator
) -> dict[int, Int64[np.ndarray, "rows"]]:
    """Size -> rows, half of them of each class; a smaller sample is part of every larger one.

    Sizes beyond `largest_sample` are left out, since they cannot be balanced.

    Raises:
        UserError: a size is odd or not positive, or none is small enough.
    """
    wrong = [size for size in sizes if size < 2 or size % 2]
    if wrong:
        raise UserError(f"{wrong[0]} records cannot be half of one class.", remedy="give even sizes of at least 2.")
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
