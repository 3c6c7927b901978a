"""The probe families: every module of this folder holds one, as `FAMILY`."""

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, Union

from pydantic import Field

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import Frozen
from models_under_pressure.probes.family import Family, FamilyConfig
from models_under_pressure.probes.weights import RecordWeights

FAMILIES: dict[str, Family[Any]] = {
    module.name: import_module(f"{__name__}.{module.name}").FAMILY for module in iter_modules(__path__)
}
"""Name -> family. A new family is a new file here; nothing else lists them."""

if TYPE_CHECKING:
    ProbeConfig: TypeAlias = FamilyConfig
else:
    ProbeConfig = Annotated[
        Union[tuple(family.config for family in FAMILIES.values())],  # noqa: UP007
        Field(discriminator="family"),
    ]
"""Hyper-parameters of a probe: those of one family, told apart by `family`."""


class TrainConfig(Frozen):
    """The probes to train: section `train` of params.yaml."""

    probes: dict[str, ProbeConfig]
    """Name of a probe -> family and hyper-parameters."""
    weights: RecordWeights = RecordWeights()
    """What each training record counts, for all of them."""

    def probe(self, name: str) -> ProbeConfig:
        """The probe of that name.

        Raises:
            UserError: there is none.
        """
        if name not in self.probes:
            raise UserError(f"no probe {name!r}.", where="train.probes", remedy=f"use one of {', '.join(self.probes)}.")
        return self.probes[name]
