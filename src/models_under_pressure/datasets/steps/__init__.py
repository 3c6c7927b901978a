"""What a recipe step is: a config value with a `run` method over both splits; and all that the modules here hold."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, Literal, get_origin

from models_under_pressure.core.conversation import Message
from models_under_pressure.core.records import Record
from models_under_pressure.core.section import Section
from models_under_pressure.datasets.files import Splits
from models_under_pressure.datasets.labelling import Labeller
from models_under_pressure.datasets.source import Dropped
from models_under_pressure.llm.ask import Asker


@dataclass(frozen=True, slots=True)
class Tools:
    """The chat model and the labelling settings, for steps that need them."""

    ask: Asker
    label: Labeller


@dataclass(frozen=True, slots=True)
class Outcome:
    """The records after a step, and the rows it dropped or moved."""

    splits: Splits
    dropped: Sequence[Dropped] = ()
    moved: Sequence[str] = ()
    """Ids of the rows that changed split."""


class BaseStep(Section, ABC):
    """One step of a recipe; a pure function of the records and of the model's replies."""

    op: Any
    """Name of the step in data/versions.yaml; each one narrows it to its own."""

    @abstractmethod
    def run(self, splits: Splits, tools: Tools) -> Outcome:
        """Apply the step."""


class EachRecord(BaseStep):
    """A step that changes every record by itself."""

    def run(self, splits: Splits, tools: Tools) -> Outcome:
        """Apply the step."""
        return Outcome(splits.each(lambda records: [self._changed(record) for record in records]))

    @abstractmethod
    def _changed(self, record: Record) -> Record: ...


def filtered(splits: Splits, reason: Callable[[Record], str | None]) -> Outcome:
    """Drop the records for which there is a reason, and say it."""
    found = [[(record, reason(record)) for record in rows] for _, rows in splits.items()]
    kept = ([record for record, why in rows if not why] for rows in found)
    return Outcome(Splits(*kept), dropped=[Dropped(record.id, why) for rows in found for record, why in rows if why])


def with_messages(record: Record, *messages: Message) -> Record:
    """The record with another conversation."""
    return replace(record, input=messages)


def _named(base: type[BaseStep]) -> Iterator[type[BaseStep]]:
    for step in base.__subclasses__():
        if get_origin(step.model_fields["op"].annotation) is Literal:
            yield step
        yield from _named(step)


for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
STEPS = tuple(sorted(_named(BaseStep), key=lambda step: step.__name__))
"""A new step is a new class here; nothing else lists them."""
