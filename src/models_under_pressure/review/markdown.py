"""GitHub Markdown from text that nobody vouches for: names, paths and values may hold pipes, HTML or mentions."""

import html
import re
from collections.abc import Sequence

SHOWN = 12
"""Rows of a table that are shown at once; the others are folded."""

_LONGEST = 100
"""Characters of one cell."""


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, most: int = 3_000) -> str:
    """A table of cells that are Markdown already: the first rows, the next ones folded, the rest counted.

    Args:
        heads: of the columns.
        rows: cells.
        most: characters of the table, from which rows are left out; a first row is always there.
    """
    head = [_line(heads), _line(["---"] * len(heads))]
    room = most - 2 * sum(map(len, head))
    kept: list[str] = []
    for line in map(_line, rows):
        room -= len(line) + 1
        if kept and room < 0:
            break
        kept.append(line)
    drawn = "\n".join([*head, *kept[:SHOWN]])
    if folded := kept[SHOWN:]:
        inside = "\n".join([*head, *folded])
        drawn += f"\n\n<details><summary>{len(folded):,} more rows</summary>\n\n{inside}\n\n</details>"
    rest = len(rows) - len(kept)
    return drawn + (f"\n\n… and {rest:,} more rows: `mup review --format json` has them." if rest > 0 else "")


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def code(value: str) -> str:
    """A value in a code span, where neither HTML nor mentions work; cut when long."""
    flat = _flat(value).replace("`", "'").replace("|", "\\|")
    return f"`{flat}`" if flat else ""


def text(value: str, *, longest: int = _LONGEST) -> str:
    """Prose with everything escaped that Markdown or GitHub would act on."""
    escaped = html.escape(_flat(value, longest), quote=False)
    return re.sub(r"([\\`*_\[\]|#@~])", r"\\\1", escaped).replace("\\@", "&#64;")


def _flat(value: str, longest: int = _LONGEST) -> str:
    flat = " ".join(value.split())
    return flat if len(flat) <= longest else flat[: longest - 1] + "…"
