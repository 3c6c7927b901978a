"""Tables of results: aligned text for a terminal, and GitHub's Markdown.

A head that begins with `>` names a column whose cells stand to the right, as numbers do.
"""

from collections.abc import Iterable, Sequence


def text_table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Columns as wide as their widest cell, two spaces apart."""
    lines = [[head.removeprefix(">") for head in heads], *([str(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    aligns = [str.rjust if head.startswith(">") else str.ljust for head in heads]
    drawn = (
        "  ".join(align(cell, width) for align, cell, width in zip(aligns, line, widths, strict=True)).rstrip()
        for line in lines
    )
    return "\n".join(drawn) + "\n"


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table of cells that are Markdown already."""
    rule = ["---:" if head.startswith(">") else "---" for head in heads]
    lines = [[head.removeprefix(">") for head in heads], rule, *([str(cell) for cell in row] for row in rows)]
    return "\n".join(map(markdown_line, lines)) + "\n"


def markdown_line(cells: Sequence[str]) -> str:
    """One line of a table."""
    return f"| {' | '.join(cells)} |"
