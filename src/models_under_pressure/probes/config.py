"""Hyper-parameters of a probe: one class per family, told apart by `family`."""

from typing import TYPE_CHECKING, Annotated, TypeAlias, Union

from pydantic import BaseModel, ConfigDict, Field

from models_under_pressure.core.errors import UserError
from models_under_pressure.probes.families import FAMILIES
from models_under_pressure.probes.family import FamilyConfig

if TYPE_CHECKING:
    ProbeConfig: TypeAlias = FamilyConfig
else:
    ProbeConfig = Annotated[
        Union[tuple(family.config for family in FAMILIES.values())],  # noqa: UP007
        Field(discriminator="family"),
    ]


class TrainConfig(BaseModel):
    """The probes to train: section `train` of params.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    probes: dict[str, ProbeConfig]
    """Name -> family and hyper-parameters."""

    def probe(self, name: str) -> ProbeConfig:
        """The probe of that name.

        Raises:
            UserError: there is none.
        """
        if name not in self.probes:
            raise UserError(f"no probe {name!r}.", where="train.probes", remedy=f"use one of {', '.join(self.probes)}.")
        return self.probes[name]
