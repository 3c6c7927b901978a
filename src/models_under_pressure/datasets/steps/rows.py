"""Steps that ask the labeller, and steps that move or drop rows."""

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field

from models_under_pressure.core.errors import UserError
from models_under_pressure.datasets.files import Splits
from models_under_pressure.datasets.labelling import label_records, unanswered
from models_under_pressure.datasets.origins import LINEAGE_PATH
from models_under_pressure.datasets.overlap import OverlapConfig, find_overlaps
from models_under_pressure.datasets.steps import BaseStep, Outcome, Tools, filtered


class Relabel(BaseStep):
    """Ask the labeller again; the labels before are kept in `previous_labels`."""

    op: Literal["relabel"]
    method: str | None = None
    """How the labeller judges in this version; null takes `relabel.method` of params.yaml."""

    def run(self, splits: Splits, tools: Tools) -> Outcome:
        """Apply the step."""
        how = tools.label.by(self.method)
        made = [label_records(records, how=how, ask=tools.ask) for _, records in splits.items()]
        failures = [failure for one in made for failure in one.failures]
        return Outcome(Splits(*(one.records for one in made)), dropped=unanswered(failures))


class MoveLast(BaseStep):
    """Move the last rows of the test split (in id order) to dev, with the rows of the groups they belong to."""

    op: Literal["move_last"]
    count: Annotated[int, Field(ge=1)]

    def run(self, splits: Splits, tools: Tools) -> Outcome:
        """Apply the step.

        Raises:
            UserError: the test split has fewer rows, or dev has a row of the same id.
        """
        if self.count > len(splits.test):
            problem = f"move_last asks for {self.count} rows, but the test split has {len(splits.test)}."
            raise UserError(problem, where=str(LINEAGE_PATH), remedy="lower `count`.")
        test = sorted(splits.test, key=lambda record: record.id)
        groups = {record.group for record in test[-self.count :]}
        moved = [record for record in test if record.group in groups]
        clashes = sorted({record.id for record in moved} & {record.id for record in splits.dev})
        if clashes:
            problem = f"move_last would bring {len(clashes)} ids to dev that are there already, first {clashes[0]!r}."
            raise UserError(problem, where=str(LINEAGE_PATH), remedy="put `drop_overlaps` before it.")
        kept = [record for record in test if record.group not in groups]
        return Outcome(Splits(dev=[*splits.dev, *moved], test=kept), moved=[record.id for record in moved])


class DropRows(BaseStep):
    """Drop the rows with these ids, for the reason that goes into the manifest."""

    op: Literal["drop_rows"]
    ids: tuple[str, ...] = Field(min_length=1)
    reason: str = Field(min_length=1)

    def run(self, splits: Splits, tools: Tools) -> Outcome:
        """Apply the step.

        Raises:
            UserError: there is no row of one of the ids.
        """
        missing = sorted(set(self.ids) - {record.id for record in splits.records})
        if missing:
            problem = f"drop_rows names {len(missing)} ids that are not there, first {missing[0]!r}."
            raise UserError(problem, where=str(LINEAGE_PATH), remedy="take them out: the parent has changed.")
        return filtered(splits, lambda record: self.reason if record.id in self.ids else None)


class DropOverlaps(BaseStep, OverlapConfig):
    """Drop the rows of one split that overlap with the other: the cleaned set is a version of its own."""

    op: Literal["drop_overlaps"]
    split: Literal["dev", "test"]
    """The split that loses rows."""

    def run(self, splits: Splits, tools: Tools) -> Outcome:
        """Apply the step."""
        reasons: dict[str, str] = {}
        for overlap in find_overlaps({"dev": splits.dev, "test": splits.test}, self):
            sides = {overlap.left_split: overlap.left_id, overlap.right_split: overlap.right_id}
            id_ = sides.pop(self.split)
            reasons.setdefault(id_, f"overlaps ({overlap.kind}) with {' '.join(sides.values())}")
        own = filtered(Splits(test=splits.dev if self.split == "dev" else splits.test), lambda row: reasons.get(row.id))
        return replace(own, splits=replace(splits, **{self.split: own.splits.test}))
