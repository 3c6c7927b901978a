"""No experiment trains on what it tests."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import stable_hash
from models_under_pressure.core.records import Record, to_row


class Named(Protocol):
    """Conversations under the name of their dataset."""

    @property
    def name(self) -> str:
        """Name of the dataset."""
        ...

    @property
    def records(self) -> Sequence[Record]:
        """The conversations."""
        ...


def check_unseen(training: Iterable[Named], test: Named) -> None:
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
