"""Equal numbers of high- and low-stakes records."""

from collections.abc import Sequence

from models_under_pressure.files import stable_hash
from models_under_pressure.records import Label, Record


def balance(
    records: Sequence[Record],
    *,
    seed: int,
    classes: Sequence[Label] = (Label.HIGH, Label.LOW),
    per_class: int | None = None,
) -> list[Record]:
    """Draw the same number of each class; the draw depends on the seed and the records, not on their order.

    Rows of one group are drawn together as far as the classes allow, so that a group is rarely cut.

    Raises:
        ValueError: a class has fewer records than `per_class` asks for (never a silent shrink).
    """
    by_class = {label: [record for record in records if record.label == label] for label in classes}
    smallest = min(len(members) for members in by_class.values())
    count = smallest if per_class is None else per_class
    if count > smallest:
        sizes = ", ".join(f"{label.value} {len(members)}" for label, members in by_class.items())
        raise ValueError(f"{count} records per class asked for, but there are {sizes}")
    drawn = [
        record
        for members in by_class.values()
        for record in sorted(members, key=lambda r: (stable_hash(seed, r.group), stable_hash(seed, r.id)))[:count]
    ]
    return sorted(drawn, key=lambda record: record.id)
