"""GitHub Markdown from text that nobody vouches for: names, paths and values may hold pipes, HTML or mentions."""

import html
import re
from collections.abc import Sequence

MOST = 60
"""Rows of one table: a GitHub comment holds 65,536 characters."""

_LONGEST = 100
"""Characters of one cell."""


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of cells that are Markdown already; what is beyond `MOST` rows is counted below it."""
    lines = [heads, ["---"] * len(heads), *rows[:MOST]]
    drawn = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    rest = len(rows) - MOST
    return drawn + (f"\n\n… and {rest:,} more rows: see the JSON." if rest > 0 else "")


def code(value: str) -> str:
    """A value in a code span, where neither HTML nor mentions work; cut when long."""
    flat = _flat(value).replace("`", "'").replace("|", "\\|")
    return f"`{flat}`" if flat else ""


def text(value: str) -> str:
    """Prose with everything escaped that Markdown or GitHub would act on."""
    escaped = html.escape(_flat(value), quote=False)
    return re.sub(r"([\\`*_\[\]|#@~])", r"\\\1", escaped).replace("\\@", "&#64;")


def _flat(value: str) -> str:
    flat = " ".join(value.split())
    return flat if len(flat) <= _LONGEST else flat[: _LONGEST - 1] + "…"
