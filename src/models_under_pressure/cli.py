"""The `mup` command: every module of `stages`, `experiments` and `tools` is a sub-command, loaded when it is called."""

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

ROOMS = {"stages": "Stages of the pipeline", "experiments": "Experiments of the paper", "tools": "Tools"}
"""Folder of commands -> its heading."""

_PACKAGE = Path(__file__).parent


class Commands(TyperGroup):
    """Sub-commands by the names of files; the file's first line says what each is for."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names, sorted within each room."""
        return [name for room in ROOMS for name in command_names(room)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Load one sub-command; None if there is none of that name."""
        room = next((room for room in ROOMS if cmd_name in command_names(room)), None)
        return None if room is None else load_command(room, cmd_name)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """List the sub-commands without loading any."""
        self.format_usage(ctx, formatter)
        self.format_help_text(ctx, formatter)
        for room, heading in ROOMS.items():
            with formatter.section(heading):
                formatter.write_dl([(name, first_line(room, name)) for name in command_names(room)])


def command_names(room: str) -> list[str]:
    """The sub-commands of a room."""
    return sorted(path.stem for path in (_PACKAGE / room).glob("[!_]*.py"))


def first_line(room: str, name: str) -> str:
    """The first sentence of a module, read without importing it."""
    with (_PACKAGE / room / f"{name}.py").open(encoding="utf-8") as stream:
        return stream.readline().strip().strip('"').rstrip(".")


def load_command(room: str, name: str) -> Any:
    """A module's `app` (a group of commands) or `command`, ready to run."""
    module = import_module(f"models_under_pressure.{room}.{name}")
    sub: typer.Typer | None = getattr(module, "app", None)
    if sub is None:
        sub = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
        sub.command(name, context_settings=_CONTEXT)(module.command)
    return typer.main.get_command(sub)


_CONTEXT = {"help_option_names": ["-h", "--help"]}

app = typer.Typer(
    name="mup",
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings=_CONTEXT,
)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(version("models-under-pressure"))
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Find high-stakes conversations with activation probes.

    The stages of dvc.yaml and experiments/dvc.yaml are sub-commands of the same names; `dvc repro` runs them in order.
    """
    _export_hub_variables()


HUB_VARIABLES = ("HF_TOKEN", "HF_HOME")
"""Variables that Hugging Face's libraries read by themselves, from the environment only."""


def _export_hub_variables() -> None:
    """Take those that stand in `.env` only into the environment, before any of the libraries is imported."""
    from dotenv import dotenv_values, find_dotenv

    found = dotenv_values(find_dotenv(usecwd=True))
    for name in HUB_VARIABLES:
        if value := (found.get(name) or "").strip():
            os.environ.setdefault(name, value)


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
