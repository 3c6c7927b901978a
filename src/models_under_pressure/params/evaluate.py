"""Section `evaluate` of params.yaml."""

from pydantic import Field

from models_under_pressure.evaluation.config import EvaluateConfig


class EvaluateParams(EvaluateConfig):
    """What is measured, and how."""

    methods: dict[str, tuple[str, ...] | None] = Field(min_length=1)
    """Whose score files are measured -> the datasets that it scores, by name or purpose; None: all."""

    def methods_of(self, dataset: str, purpose: str) -> list[str]:
        """The methods that score a dataset."""
        return [name for name, which in self.methods.items() if which is None or {dataset, purpose} & set(which)]
