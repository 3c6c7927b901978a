"""Hyper-parameters of a probe: one class per family, told apart by `family`."""

from typing import TYPE_CHECKING, Annotated, TypeAlias, Union

from pydantic import Field

from models_under_pressure.probes.families import FAMILIES
from models_under_pressure.probes.family import FamilyConfig

if TYPE_CHECKING:
    ProbeConfig: TypeAlias = FamilyConfig
else:
    ProbeConfig = Annotated[
        Union[tuple(family.config for family in FAMILIES.values())],  # noqa: UP007
        Field(discriminator="family"),
    ]
