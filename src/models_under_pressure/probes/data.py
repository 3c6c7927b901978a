"""What probes are fitted on."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from models_under_pressure.activations.ragged import Activations
from models_under_pressure.errors import UserError
from models_under_pressure.files import stable_hash
from models_under_pressure.probes.origin import provenance_of


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Activations, and for each record its label and group, in the order of the records."""

    activations: Activations
    labels: Bool[np.ndarray, "records"]
    """True for high-stakes."""
    groups: list[str]
    """Records of one group (a pair of prompts, say) stay together in cross-validation."""

    def __post_init__(self) -> None:
        records = len(self.activations.ids)
        if self.labels.shape != (records,) or len(self.groups) != records:
            raise ValueError(
                f"{records} records, labels of shape {self.labels.shape}, {len(self.groups)} groups: not aligned"
            )
        if self.labels.dtype != np.bool_:
            raise ValueError(f"labels are {self.labels.dtype}, not bool (an ambiguous record is neither class)")

    @property
    def content_hash(self) -> str:
        """SHA-256 of the records' ids, labels and groups, and of what shaped their activations."""
        origin = provenance_of(self.activations.attributes)
        return stable_hash(list(self.activations.ids), self.labels.tolist(), self.groups, origin)


def check_classes(data: TrainingData, name: str) -> None:
    """Refuse data of one class.

    Raises:
        UserError: every label is the same.
    """
    if data.labels.all() or not data.labels.any():
        raise UserError(
            f"the {len(data.labels)} {name} records are all of one class.",
            remedy="give records of both classes, high-stakes and low-stakes.",
        )
