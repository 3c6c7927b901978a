"""The `mup` command: assembles sub-commands, nothing else."""

import sys
from typing import Annotated

import typer

from models_under_pressure.commands import (
    acts,
    baselines,
    datasets,
    doctor,
    experiments,
    probes,
    remote,
    replies,
    review,
    scaling,
    stages,
)

app = typer.Typer(
    name="mup",
    help="Find high-stakes conversations with activation probes.\n\nThe stages of dvc.yaml are sub-commands of the "
    "same names; `dvc repro` runs them in order.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
stages.add_to(app)
experiments.add_to(app)
app.add_typer(acts.app, name="acts")
app.add_typer(baselines.app, name="baselines")
app.add_typer(datasets.app, name="datasets")
app.add_typer(probes.app, name="probes")
app.add_typer(replies.app, name="replies")
app.add_typer(remote.app, name="remote")
app.command()(probes.score)
app.command()(probes.explain)
app.command()(review.review)
app.command()(scaling.scaling)
app.command()(doctor.doctor)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version as package_version

        print(package_version("models-under-pressure"))
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; a problem that the user can mend ends as one line and status 1."""
    from models_under_pressure.core.errors import UserError, disk_error

    try:
        app()
    except UserError as error:
        print(f"mup: {error}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        problem = disk_error(error)
        if problem is None:
            raise
        print(f"mup: {problem}", file=sys.stderr)
        sys.exit(1)
