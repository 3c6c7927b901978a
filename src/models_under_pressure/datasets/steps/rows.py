"""Steps that ask the labeller, and steps that move rows."""

from typing import Annotated, Literal

from pydantic import Field

from models_under_pressure.datasets.labelling import label_records
from models_under_pressure.datasets.splits import Splits
from models_under_pressure.datasets.steps.base import BaseStep, Outcome, Tools, unanswered
from models_under_pressure.errors import UserError


class Relabel(BaseStep):
    """Ask the labeller again; the labels before are kept in `previous_labels`."""

    op: Literal["relabel"]

    def run(self, splits: Splits, tools: Tools) -> Outcome:
        """Apply the step."""
        dev = label_records(splits.dev, config=tools.label, ask=tools.ask)
        test = label_records(splits.test, config=tools.label, ask=tools.ask)
        return Outcome(Splits(dev=dev.records, test=test.records), dropped=unanswered([*dev.failures, *test.failures]))


class MoveLast(BaseStep):
    """Move the last rows of the test split (in id order) to dev, with the rows of the groups they belong to."""

    op: Literal["move_last"]
    count: Annotated[int, Field(ge=1)]

    def run(self, splits: Splits, tools: Tools) -> Outcome:
        """Apply the step."""
        if self.count > len(splits.test):
            raise UserError(
                f"move_last asks for {self.count} rows, but the test split has {len(splits.test)}.",
                where="data/versions.yaml",
                remedy="lower `count`.",
            )
        groups = {record.group for record in list(splits.test)[-self.count :]}
        moved = [record for record in splits.test if record.group in groups]
        kept = [record for record in splits.test if record.group not in groups]
        return Outcome(Splits(dev=[*splits.dev, *moved], test=kept), moved=[record.id for record in moved])
