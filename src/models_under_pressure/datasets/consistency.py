"""Whether a balanced file fits the raw file that it was drawn from."""

from collections.abc import Sequence

from models_under_pressure.core.records import Label, Record
from models_under_pressure.datasets.counts import label_counts


def inconsistencies(raw: Sequence[Record], balanced: Sequence[Record]) -> list[str]:
    """What is wrong with a balanced file: unequal classes, rows that raw has not, other texts or labels than there."""
    known = {record.id: record for record in raw}
    counts = {label: count for label, count in label_counts(balanced).items() if count}
    common = [(record, known[record.id]) for record in balanced if record.id in known]
    found = {
        "rows that the raw file does not have": len(balanced) - len(common),
        "rows with another text than in the raw file": sum(one.input != other.input for one, other in common),
        "rows with another label than in the raw file": sum(one.label is not other.label for one, other in common),
        "ambiguous rows": counts.get(Label.AMBIGUOUS.value, 0),
    }
    problems = [f"{count} {what}" for what, count in found.items() if count]
    if len(set(counts.values())) > 1:
        problems.append(f"classes of unequal size: {', '.join(f'{name} {count}' for name, count in counts.items())}")
    return problems
