"""`mup doctor`: one page on whether this machine can do the planned run."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from models_under_pressure.remotes.finding import Finding


def doctor(
    offline: Annotated[bool, typer.Option("--offline", help="Ask no server about models and remotes.")] = False,
) -> None:
    """Look at versions, hardware, disk, cache, keys, remotes, the model and the space the planned run needs.

    Values of keys are never shown. Status 1 if something stands in the way.

    Example: mup doctor
    """
    from models_under_pressure.commands import environment, planned
    from models_under_pressure.commands.findings import or_failure, print_findings
    from models_under_pressure.remotes.finding import failed

    root = Path()
    sections: dict[str, Iterable[Finding]] = {
        "software": environment.software(),
        "hardware": environment.hardware(),
        "keys": environment.keys(root=root),
        "results": environment.results(root=root),
        "cache": environment.cache(root=root),
        "remotes": environment.remotes(root=root, offline=offline),
        "planned run": planned.planned_run(root=root, offline=offline),
    }
    everything = []
    for title, findings in sections.items():
        print(title)
        everything += print_findings(or_failure(findings))
    if failed(everything):
        raise typer.Exit(1)
