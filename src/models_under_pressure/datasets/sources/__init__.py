"""The sources: every module of this folder reads one, with its function `parse`."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from models_under_pressure.datasets.source import Parsed

PARSERS: dict[str, Callable[[Path], Parsed]] = {
    module.name: import_module(f"{__name__}.{module.name}").parse for module in iter_modules(__path__)
}
"""Name -> function that reads the files of a folder. A new source is a new file here; nothing else lists them."""
