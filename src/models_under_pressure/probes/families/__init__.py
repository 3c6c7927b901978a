"""The probe families: every module of this folder holds one, as `FAMILY`."""

from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from models_under_pressure.probes.family import Family

FAMILIES: dict[str, Family[Any]] = {
    module.name: import_module(f"{__name__}.{module.name}").FAMILY for module in iter_modules(__path__)
}
"""Name -> family. A new family is a new file here; nothing else lists them."""
