"""HTML from text that nobody vouches for."""

import html
import json
from collections.abc import Sequence
from typing import Any, NewType

Markup = NewType("Markup", str)
"""HTML that is safe: made by these functions, never from data directly."""


def text(value: object) -> Markup:
    """Text with everything escaped that HTML would act on, also inside quoted attributes."""
    return Markup(html.escape(str(value), quote=True))


def join(parts: Sequence[str]) -> Markup:
    """Pieces of markup, one a line."""
    return Markup("\n".join(parts))


def element(tag: str, content: str, **attributes: str) -> Markup:
    """An element around markup; `class_` and `data_x` become `class` and `data-x`."""
    drawn = "".join(f' {name.rstrip("_").replace("_", "-")}="{text(value)}"' for name, value in attributes.items())
    return Markup(f"<{tag}{drawn}>{content}</{tag}>")


def table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[Markup]]) -> Markup:
    """A captioned table whose first column names its rows, in a region that scrolls by keyboard when too wide."""
    head = "".join(element("th", text(name), scope="col") for name in heads)
    body = join(
        [
            f"<tr>{element('th', row[0], scope='row')}{''.join(element('td', cell) for cell in row[1:])}</tr>"
            for row in rows
        ]
    )
    drawn = f"<table><caption>{text(caption)}</caption><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table>"
    return element("div", drawn, class_="scroll", role="region", aria_label=caption, tabindex="0")


def data_script(identifier: str, value: Any) -> Markup:
    """JSON that scripts can read and that cannot close its element, whatever it holds."""
    drawn = json.dumps(value, ensure_ascii=False, sort_keys=True, allow_nan=False, separators=(",", ":"))
    safe = drawn.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    return Markup(f'<script type="application/json" id="{text(identifier)}">{safe}</script>')
