"""The charts of a page, as stages wrote them."""

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import read_json
from models_under_pressure.core.paths import FIGURES
from models_under_pressure.report.content import Figure


def find_figure(name: str) -> Figure:
    """The figure of that name, whichever stage drew it.

    Raises:
        UserError: there is none, or it has no title.
    """
    found = sorted(FIGURES.glob(f"*/{name}.json"))
    if not found:
        raise UserError(
            f"no figure {name!r}.", where=str(FIGURES), remedy="run `dvc repro`, or correct the list of figures."
        )
    specification = read_json(found[0])
    title = specification.get("title")
    title = title.get("text") if isinstance(title, dict) else title
    if not title:
        remedy = "write it with figures.render.write_chart."
        raise UserError("the figure has no title.", where=str(found[0]), remedy=remedy)
    told = title if isinstance(title, str) else " ".join(title)
    return Figure(name, told, specification.get("description", ""), specification)
