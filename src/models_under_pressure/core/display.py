"""What people read: progress with rate and ETA, notices, text made harmless, tables and templates of pages.

A table's head that begins with `>` names a column whose cells stand to the right, as numbers do.
"""

import re
import sys
import time
import unicodedata
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any, Protocol, cast

if TYPE_CHECKING:
    from jinja2 import Template
    from tqdm import tqdm

_LINE_INTERVAL = 15.0
"""Seconds between plain lines, so that a CI log stays readable."""
_HARMLESS = "\n\t\u200c\u200d"
"""Line feed, tab, and the joiners of Indic scripts, Persian and emoji."""


_ADDRESS = re.compile(
    r"(?P<scheme>\b[a-zA-Z][\w+.-]*://)(?P<user>[^\s'\"]*@)?(?P<path>[^\s?#'\"]*)((?P<mark>[?#])[^\s'\"]*)?"
)


class Progress(Protocol):
    """Something that counts finished work."""

    def advance(self, amount: int = 1, **notes: object) -> None:
        """Add finished units, and show `notes` (such as the running cost) beside them."""
        ...


@contextmanager
def progress(total: int, *, what: str, unit: str = "rows") -> Generator[Progress, None, None]:
    """Show the progress of `total` units of work on standard error."""
    what = printable(what)
    if sys.stderr.isatty():
        from tqdm import tqdm

        with tqdm(total=total, desc=what, unit=f" {unit}", dynamic_ncols=True) as bar:
            yield _Bar(bar)
    else:
        yield _Lines(total, what, unit)


def notice(text: str) -> None:
    """Say something on standard error at once, without harm to a bar that is being drawn."""
    text = printable(text)
    if sys.stderr.isatty():
        from tqdm import tqdm

        tqdm.write(text, file=sys.stderr)
    else:
        print(text, file=sys.stderr, flush=True)


def printable(text: str) -> str:
    """Text with control and format characters as visible escapes, but for those that ordinary writing needs.

    So that nobody's text moves the cursor, hides what stands before it, or turns the direction of writing around.
    """
    return text if text.isprintable() else "".join(map(_visible, text))


def _visible(character: str) -> str:
    if character in _HARMLESS or (unicodedata.category(character)[0] != "C" and character not in "\u2028\u2029"):
        return character
    if character < "\x7f":
        return character.encode("unicode_escape").decode()
    units = character.encode("utf-16-be", "surrogatepass")  # as in JSON, which so stays what it was
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


class _Harmless:
    """A stream whose text goes through `printable`."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write(printable(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def harmless_output() -> Generator[None]:
    """Make all that is printed to standard output harmless for a while; `sys.__stdout__` stays as it is."""
    with redirect_stdout(cast("Any", _Harmless(sys.stdout))):
        yield


def masked(text: str) -> str:
    """The text with user info, query and fragment, which may be secrets, hidden in every address."""

    def hide(found: re.Match[str]) -> str:
        user, rest = "***@" if found["user"] else "", f"{found['mark']}***" if found["mark"] else ""
        return f"{found['scheme']}{user}{found['path']}{rest}"

    return _ADDRESS.sub(hide, text)


class _Bar:
    def __init__(self, bar: "tqdm[Any]") -> None:
        self._bar: Any = bar

    def advance(self, amount: int = 1, **notes: object) -> None:
        if notes:
            self._bar.set_postfix(notes, refresh=False)
        self._bar.update(amount)


class _Lines:
    def __init__(self, total: int, what: str, unit: str) -> None:
        self._total, self._what, self._unit = total, what, unit
        self._done = self._told = 0
        self._start = self._last = time.monotonic()

    def advance(self, amount: int = 1, **notes: object) -> None:
        self._done += amount
        now = time.monotonic()
        finished = self._done >= self._total > 0
        if now - self._last < _LINE_INTERVAL and not (finished and self._last > self._start):
            return
        rate = (self._done - self._told) / max(now - self._last, 1e-9)  # of late: a resumed run begins much faster
        self._last, self._told = now, self._done
        eta = (self._total - self._done) / rate if rate else float("inf")
        extra = "".join(f", {name} {value}" for name, value in notes.items())
        print(
            f"{self._what}: {self._done:,}/{self._total:,} {self._unit}, {rate:,.1f}/s, ETA {eta:,.0f} s{extra}",
            file=sys.stderr,
            flush=True,
        )


def text_table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Columns as wide as their widest cell, two spaces apart."""
    cells = ([printable(str(cell)).replace("\n", " ") for cell in row] for row in rows)
    lines = [[printable(head.removeprefix(">")) for head in heads], *cells]
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


def template(package: str, name: str) -> "Template":
    """The template of that name in the folder of a package."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader(package, ""),
        autoescape=not name.endswith(".md.jinja"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    # `tojson` also escapes what could close the script element that data stands in.
    compact = {"ensure_ascii": False, "sort_keys": True, "allow_nan": False, "separators": (",", ":")}
    environment.policies["json.dumps_kwargs"] = compact
    return environment.get_template(name)
