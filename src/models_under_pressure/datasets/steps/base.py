"""What a recipe step is: a config value with a `run` method over both splits."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pydantic import BaseModel, ConfigDict

from models_under_pressure.core.records import Message, Record
from models_under_pressure.datasets.files import Dropped, Splits
from models_under_pressure.datasets.labelling import LabelConfig
from models_under_pressure.llm.ask import Asker


@dataclass(frozen=True, slots=True)
class Tools:
    """What steps may use beside the records."""

    ask: Asker
    label: LabelConfig


@dataclass(frozen=True, slots=True)
class Outcome:
    """The records after a step, and the rows it dropped or moved."""

    splits: Splits
    dropped: Sequence[Dropped] = ()
    moved: Sequence[str] = ()
    """Ids of the rows that changed split."""


class BaseStep(BaseModel, ABC):
    """One step of a recipe; a pure function of the records and of the model's replies."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @abstractmethod
    def run(self, splits: Splits, tools: Tools) -> Outcome:
        """Apply the step."""


def mapped(splits: Splits, change: Callable[[Record], Record]) -> Outcome:
    """Change every record."""
    return Outcome(Splits(dev=[change(r) for r in splits.dev], test=[change(r) for r in splits.test]))


def filtered(splits: Splits, reason: Callable[[Record], str | None]) -> Outcome:
    """Drop the records for which there is a reason, and say it."""
    dropped: list[Dropped] = []
    kept: dict[str, list[Record]] = {"dev": [], "test": []}
    for name, records in splits.items():
        for record in records:
            if why := reason(record):
                dropped.append(Dropped(record.id, why))
            else:
                kept[name].append(record)
    return Outcome(Splits(dev=kept["dev"], test=kept["test"]), dropped=dropped)


def with_messages(record: Record, messages: tuple[Message, ...]) -> Record:
    """The record with another conversation."""
    return replace(record, input=messages)
