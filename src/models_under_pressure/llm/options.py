"""What commands that ask a chat model have in common: their options, and the look before asking."""

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from models_under_pressure.llm.answering import REPLIES, open_store
from models_under_pressure.llm.config import LLMConfig
from models_under_pressure.llm.rehearsal import Round, describe_cost, describe_round
from models_under_pressure.llm.store import ReplyStore

DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Ask and write nothing: say how many replies are missing, and their cost.")
]
AllowMissing = Annotated[
    int | None,
    typer.Option(min=0, metavar="N", help="Accept N questions of a round without an answer; their rows are left out."),
]
AllowUndecided = Annotated[
    int | None,
    typer.Option("--allow-missing", min=0, metavar="N", help="Accept N questions without an answer, as undecided."),
]
Refresh = Annotated[
    str | None,
    typer.Option(metavar="IDS", help="Ask anew, and pay, for the record ids that fit this shell pattern, such as '*'."),
]


def with_options(config: LLMConfig, *, allow_missing: int | None, refresh: str | None) -> LLMConfig:
    """The settings of params.yaml with what the command line says."""
    changes: dict[str, object] = {}
    if allow_missing is not None:
        changes["allow_missing"] = allow_missing
    if refresh is not None:
        changes |= {"mode": "refresh", "refresh_ids": refresh}
    return config.model_copy(update=changes)


def dry_run(
    name: str, config: LLMConfig, preview: Callable[[ReplyStore], Sequence[Round]], *, folder: Path = REPLIES
) -> None:
    """Print what a stage would ask, round by round, and the cost; `folder` has the record file of what is no stage."""
    with closing(open_store(name, folder)) as store:
        rounds = preview(store)
    for one in rounds:
        print(f"{name}, {describe_round(one)}")
    print(describe_cost(rounds, config))
