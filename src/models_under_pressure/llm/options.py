"""What commands that ask a chat model share: their options, and what a run would ask and cost, without asking.

In a rehearsal recorded replies are used as far as they go, and from the first unknown reply on, fillers of usual length
stand in. Token counts come from the length of the texts (`llm.config`), so that costs are estimates.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import typer
from pydantic import BaseModel

from models_under_pressure.llm.answering import REPLIES, ask_all, estimate, open_store
from models_under_pressure.llm.ask import Answer, Ask, Failure
from models_under_pressure.llm.config import LLMConfig, input_tokens, price_of
from models_under_pressure.llm.store import ReplyStore

T = TypeVar("T", bound=BaseModel)

_FILLER = " _____"
"""One word that is not written yet; English words have 5 letters."""
_USUAL_WORDS = 40
"""Of each text in a reply whose form is not known better: labellers explain themselves in about so many."""


@dataclass(frozen=True, slots=True)
class Round:
    """Questions of one kind that are asked together."""

    asks: Sequence[Ask[Any]]
    recorded: int
    """Questions whose reply is known already."""
    input_tokens: int
    output_tokens: int


class Rehearsal:
    """An asker that asks nobody, and remembers what it was asked.

    `words` tells the usual words of each text in a reply of the form of some name.
    """

    def __init__(self, config: LLMConfig, store: ReplyStore, *, words: Mapping[str, int] | None = None) -> None:
        self._config, self._store = config, store
        self._words = words or {}
        self.rounds: list[Round] = []
        self.is_certain = True
        """Whether every reply so far was a recorded one, so that the questions are those of the real run."""

    def __call__(self, asks: Sequence[Ask[T]], /) -> Sequence[Answer[T] | Failure]:
        """Answer with recorded replies if all are there, else with fillers."""
        recorded = estimate(asks, config=self._config, store=self._store).recorded
        self.is_certain = self.is_certain and recorded == len(asks)
        answers: Sequence[Answer[T] | Failure] = (
            ask_all(asks, config=self._config.model_copy(update={"mode": "replay"}), store=self._store, what="replies")
            if self.is_certain
            else [Answer(self._filler(ask), self._config.model) for ask in asks]
        )
        values = [answer.value for answer in answers if isinstance(answer, Answer)]
        self.rounds.append(
            Round(
                asks=asks,
                recorded=recorded,
                input_tokens=sum(input_tokens(ask.body(self._config)) for ask in asks),
                output_tokens=sum(_text_tokens(value.model_dump_json()) for value in values),
            )
        )
        return answers

    def _filler(self, ask: Ask[T]) -> T:
        """A reply of usual length, unlike that to any other question, as repeated texts are dropped."""
        words = self._words.get(ask.reply.__name__, _USUAL_WORDS)
        number = len(self.rounds) + 1
        values: dict[str, Any] = {
            name: _value(field.annotation, f"({name} of {ask.record_id}, round {number}){_FILLER * words}")
            for name, field in ask.reply.model_fields.items()
        }
        return ask.reply.model_construct(**values)


def describe(name: str, rounds: Sequence[Round], config: LLMConfig, *, most: int = 0) -> str:
    """The size of each round of a stage with its first `most` questions, and the cost of them all, for a person."""
    lines: list[str] = []
    for one in rounds:
        what = f"{one.asks[0].reply.__name__}: {len(one.asks):,} questions" if one.asks else "0 questions"
        tokens = f"about {one.input_tokens:,} tokens in, {one.output_tokens:,} out"
        lines.append(f"{name}, {what}, {one.recorded:,} recorded; {tokens}")
        if shown := one.asks[:most]:
            lines.append(f"[system] {shown[0].messages[0].content.strip()}")
            lines += [f"--- {ask.record_id}\n{_short(ask.messages[-1].content)}" for ask in shown]
    return "\n".join([*lines, _cost_of(rounds, config)]) + "\n"


def _short(text: str) -> str:
    return re.sub(f"(?:{_FILLER})+", " …", text)


def _cost_of(rounds: Sequence[Round], config: LLMConfig) -> str:
    """Questions and cost of all rounds, for a person."""
    questions = sum(len(one.asks) for one in rounds)
    recorded = sum(one.recorded for one in rounds)
    lines = [f"{questions:,} questions at most, {recorded:,} of them with a recorded reply."]
    if config.price is None:
        return f"{lines[0]}\nCost unknown: llm.prices has no entry for {config.model}."
    whole = sum(_cost(one, config) for one in rounds)
    missing = sum(_cost(one, config) * (1 - one.recorded / max(len(one.asks), 1)) for one in rounds)
    how = "through the Batch API" if config.batch else "without the Batch API"
    lines.append(f"Asking {config.model} for all: about ${whole:,.2f} {how}; for the missing: ${missing:,.2f}.")
    lines.append("Tokens are estimated from the length of the texts, rather high; asking again is not foreseen.")
    return "\n".join(lines)


def _cost(one: Round, config: LLMConfig) -> float:
    assert config.price is not None
    full = price_of(one.input_tokens, one.output_tokens, config.price)
    return full * (1 - config.batch_discount) if config.batch else full


def _value(annotation: Any, text: str) -> object:
    if get_origin(annotation) is Literal:
        return get_args(annotation)[0]
    return 1 if annotation is int else text


def _text_tokens(text: str) -> int:
    return input_tokens({"messages": [{"content": text}]})


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
    name: str,
    config: LLMConfig,
    work: Callable[[Rehearsal], object],
    *,
    most: int = 0,
    words: Mapping[str, int] | None = None,
    folder: Path = REPLIES,
) -> None:
    """Print what `work` would ask, and the cost; `folder` has the record file of what is no stage."""
    with closing(open_store(name, folder)) as store:
        rehearsal = Rehearsal(config, store, words=words)
        work(rehearsal)
    print(describe(name, rehearsal.rounds, config, most=most), end="")
