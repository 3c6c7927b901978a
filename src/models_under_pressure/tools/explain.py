"""Show which tokens made a conversation's score."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from models_under_pressure.tools.score import Device, ProbeName, load_with_model, read_conversations

if TYPE_CHECKING:
    from models_under_pressure.core.records import Record


def command(
    probe: ProbeName,
    id_: Annotated[str, typer.Option("--id", help="Id of the conversation; a row without `ids` has its number.")],
    file: Annotated[
        str | None, typer.Argument(help="File of conversations, - is standard input; without it, the datasets in use.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page here instead of text to standard output.")] = None,
    device: Device = "auto",
) -> None:
    """Show which tokens made a conversation's score.

    Example: mup explain --probe attention --id 1518 --html why.html
    """
    from models_under_pressure.core.files import write_text
    from models_under_pressure.monitor.explain import to_html, to_text
    from models_under_pressure.monitor.score import score_records

    record = _conversation(id_, file)
    loaded, model = load_with_model(probe, device)
    scored = next(iter(score_records([record], loaded, model, tokens=True)))
    if html is None:
        colour = sys.stdout.isatty()  # standard output itself, because colours are control characters too
        print(to_text(scored, loaded, colour=colour), end="", file=sys.__stdout__ if colour else None)
    else:
        write_text(html, to_html(scored, loaded))
        print(html)


def _conversation(id_: str, file: str | None) -> "Record":
    """The conversation of that id, from the file or from the datasets of the project.

    Raises:
        UserError: there is none, or several datasets have different ones.
    """
    from models_under_pressure.core.errors import UserError

    files = _datasets_in_use() if file is None else [file]
    found = {name: record for name in files for record in read_conversations(name) if record.id == id_}
    if not found:
        raise UserError(
            f"no conversation has the id {id_!r}.",
            where=", ".join(files) or "data/",
            remedy="name a file and one of its `ids`.",
        )
    if len({record.input for record in found.values()}) > 1:
        raise UserError(
            f"several conversations have the id {id_!r}.", where=", ".join(found), remedy="name one of these files."
        )
    return next(iter(found.values()))


def _datasets_in_use() -> list[str]:
    """Files of the datasets in use, if there are any."""
    from models_under_pressure.core.paths import IN_USE, PURPOSES

    return [str(path) for purpose in PURPOSES for path in sorted((IN_USE / purpose).glob("*.jsonl"))]
