"""Find high-stakes conversations with activation probes (arXiv 2506.10805).

What this package offers to Python stands in `_PLACES` and is explained in docs/python.md. Each name is imported when it
is first asked for, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from models_under_pressure.activations.ragged import Activations as Activations
    from models_under_pressure.activations.store import open_store as open_store
    from models_under_pressure.api import conversations as conversations
    from models_under_pressure.api import extract as extract
    from models_under_pressure.api import fit as fit
    from models_under_pressure.api import load_model as load_model
    from models_under_pressure.api import load_probe as load_probe
    from models_under_pressure.api import score as score
    from models_under_pressure.core.concept import Classes as Classes
    from models_under_pressure.core.conversation import Message as Message
    from models_under_pressure.core.errors import UserError as UserError
    from models_under_pressure.core.records import Label as Label
    from models_under_pressure.core.records import Record as Record
    from models_under_pressure.core.records import read_records as read_records
    from models_under_pressure.core.records import write_records as write_records
    from models_under_pressure.estimator import ActivationExtractor as ActivationExtractor
    from models_under_pressure.estimator import ProbeClassifier as ProbeClassifier
    from models_under_pressure.monitor.live import Monitor as Monitor
    from models_under_pressure.monitor.live import load_monitor as load_monitor
    from models_under_pressure.probes.probe import Probe as Probe
    from models_under_pressure.probes.probe import save_probe as save_probe

_PLACES = {
    "activations.ragged": ("Activations",),
    "activations.store": ("open_store",),
    "api": ("conversations", "extract", "fit", "load_model", "load_probe", "score"),
    "core.concept": ("Classes",),
    "core.conversation": ("Message",),
    "core.errors": ("UserError",),
    "core.records": ("Label", "Record", "read_records", "write_records"),
    "estimator": ("ActivationExtractor", "ProbeClassifier"),
    "monitor.live": ("Monitor", "load_monitor"),
    "probes.probe": ("Probe", "save_probe"),
}
"""Module -> names that it gives to the public face."""
_MODULE_OF = {name: module for module, names in _PLACES.items() for name in names}


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    """The public names."""
    return sorted(_MODULE_OF)
