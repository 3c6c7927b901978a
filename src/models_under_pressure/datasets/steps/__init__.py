"""The steps of recipes: every class with a name in `op`, in any module of this folder."""

from collections.abc import Iterator
from importlib import import_module
from pkgutil import iter_modules
from typing import Literal, get_origin

from models_under_pressure.datasets.steps.base import BaseStep


def _named(base: type[BaseStep]) -> Iterator[type[BaseStep]]:
    for step in base.__subclasses__():
        if get_origin(step.model_fields["op"].annotation) is Literal:
            yield step
        yield from _named(step)


for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
STEPS = tuple(sorted(_named(BaseStep), key=lambda step: step.__name__))
"""A new step is a new class here; nothing else lists them."""
