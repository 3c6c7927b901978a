"""Show what changed since another revision, and whether it is noise."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from models_under_pressure.core.files import write_text
from models_under_pressure.review.compare import review
from models_under_pressure.review.reading import two_snapshots
from models_under_pressure.review.render import to_json, to_markdown

GATE_STATUS = 3
"""Exit status when `--fail-if` finds what it looks for; 1 is an error, 2 a wrong option."""


def command(
    revision: Annotated[str, typer.Argument(metavar="REV", help="Revision to compare with.")] = "HEAD",
    to: Annotated[str, typer.Option(help="Revision to look at.")] = "workspace",
    form: Annotated[Literal["markdown", "json"], typer.Option("--format", help="How to print it.")] = "markdown",
    output: Annotated[Path | None, typer.Option(help="File to write instead of printing.")] = None,
    fail_if: Annotated[
        Literal["never", "worse"], typer.Option(help="End with status 3 when a dataset or a mean got worse.")
    ] = "never",
    alpha: Annotated[float, typer.Option(min=1e-6, max=0.5, help="Chance of calling noise a change.")] = 0.05,
) -> None:
    """Show what changed since another revision: parameters, datasets, results with a verdict, overlap, cost.

    Results are compared record by record, so that a change that only moves noise is called noise. Scores come from
    the workspace, DVC's cache or a remote; what is out of reach is listed.

    Example: mup review origin/main --fail-if worse
    """
    with two_snapshots(revision, to) as (before, after):
        found = review(before, after, alpha=alpha)
    if form == "json":
        drawn = json.dumps(to_json(found), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    else:
        drawn = to_markdown(found)
    if output is None:
        print(drawn, end="")
    else:
        write_text(output, drawn)
    if fail_if == "worse" and found.worse:
        raise typer.Exit(GATE_STATUS)
