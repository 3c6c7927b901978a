"""The `mup` command: every module of `stages`, `experiments` and `tools` is a sub-command, loaded when it is called."""

import io
import logging
import os
import sys
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from models_under_pressure.core.display import harmless_output, notice, printable
from models_under_pressure.core.errors import UserError, disk_error
from models_under_pressure.remotes.dvc_lock import cut_lock

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
    return _harmless(typer.main.get_command(sub))


def _harmless(command: Any) -> Any:
    """The command, which prints nothing that a file or a server could have aimed at the terminal."""
    for one in getattr(command, "commands", {}).values():
        _harmless(one)
    if command.callback is not None and not hasattr(command, "commands"):
        inner = command.callback

        @wraps(inner)
        def run(*arguments: Any, **options: Any) -> Any:
            with harmless_output():
                return inner(*arguments, **options)

        command.callback = run
    return command


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
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Find high-stakes conversations with activation probes.

    The stages of dvc.yaml and experiments/dvc.yaml are sub-commands of the same names; `dvc repro` runs them in order.
    """
    _export_hub_variables()
    if (cut := cut_lock(Path())) is not None and context.invoked_subcommand != "doctor":
        notice(f"mup: {cut}")
    params = {"stages": Path("params.yaml"), "experiments": Path("experiments/params.yaml")}
    for room, file in params.items():
        if context.invoked_subcommand in command_names(room) and file.exists():
            from models_under_pressure.core.section import check_names

            check_names(file)  # here, because a name of two words is a wrong number of arguments of the stage


HUB_VARIABLES = ("HF_TOKEN", "HF_HOME")
"""Variables that Hugging Face's libraries read by themselves, from the environment only."""


def _export_hub_variables() -> None:
    """Take those that stand in `.env` only into the environment, before any of the libraries is imported."""
    from dotenv import dotenv_values, find_dotenv

    file = find_dotenv(usecwd=True)
    try:
        found = dotenv_values(file)
        for name in HUB_VARIABLES:
            if value := (found.get(name) or "").strip():
                os.environ.setdefault(name, value)
    except ValueError:
        raise UserError("not a text file in UTF-8.", where=file, remedy="save it as UTF-8.") from None


def main() -> None:
    """Run the command line; a problem that the user can mend ends as one line and status 1."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # whatever the locale says: conversations are in every script
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        if sys.platform == "win32":
            raise UserError("Windows is not supported.", remedy="use Linux, macOS, or WSL 2 on Windows.")
        if logging.lastResort is not None:
            logging.lastResort.setFormatter(_Harmless())
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


class _Harmless(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))
