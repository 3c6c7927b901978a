"""The steps of a request in the engine: a reply token by token, or conversations scored one by one."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.records import to_record
from models_under_pressure.monitor.live import Monitor
from models_under_pressure.monitor.log import Log
from models_under_pressure.monitor.running import Outcome, Step
from models_under_pressure.monitor.serving.asked import Chat
from models_under_pressure.monitor.serving.engine import Job
from models_under_pressure.monitor.serving.metrics import Metrics
from models_under_pressure.monitor.serving.spoken import Piece, Spoken


@dataclass(frozen=True)
class Said:
    """One token of a reply, and the pieces of text that can be told since."""

    step: Step
    pieces: Sequence[Piece]


@dataclass(frozen=True)
class Ended:
    """The end of a reply, logged."""

    outcome: Outcome
    pieces: Sequence[Piece]
    """The last of the text."""
    prompt_tokens: int


def converse(
    job: Job, *, monitor: Monitor, chat: Chat, stops: bool, log: Log | None, metrics: Metrics
) -> Iterator[Said | Ended]:
    """Write a reply; it ends where its reader has left, and is logged then too: nobody gets an unlogged reply.

    Args:
        job: says whether the reader has left.
        monitor: the model and its probes.
        chat: what is asked.
        stops: whether a flag ends the reply.
        log: gets the conversation before its end is told.
        metrics: counts tokens and conversations.

    Raises:
        UserError: see `Monitor.generate`.
        OSError: the log cannot be written.
    """
    reply = monitor.generate(
        chat.messages,
        tools=chat.tools,
        name=chat.id,
        max_new_tokens=chat.longest,
        on_flag=(lambda _: False) if stops else None,
        seed=chat.seed,
        **chat.sampling,
    )
    spoken = Spoken(chat.stops, has_tools=bool(chat.tools))
    latest, is_first = time.monotonic(), True
    for step in reply:
        pieces = spoken.add(step.text)
        if spoken.is_stopped:
            reply.end("finished", spoken.text)
        elif job.left:
            reply.end("left")
        now = time.monotonic()
        metrics.token(now - latest, is_first=is_first)
        latest, is_first = now, False
        yield Said(step, pieces)
    outcome = reply.outcome
    if outcome is None:
        raise RuntimeError("the reply ended without an outcome")
    if log is not None:
        log.add(outcome)
    metrics.conversation(outcome, reply.prompt_tokens)
    yield Ended(outcome, spoken.close(_rest(outcome, chat, spoken)), reply.prompt_tokens)


def _rest(outcome: Outcome, chat: Chat, spoken: Spoken) -> str:
    """Text of the last tokens that are no whole character."""
    if len(outcome.record.messages) == len(chat.messages) or spoken.is_stopped:
        return ""
    whole = outcome.record.messages[-1].content
    return whole[len(spoken.text) :] if whole.startswith(spoken.text) else ""


def assess(job: Job, *, monitor: Monitor, rows: Sequence[object]) -> Iterator[Outcome | str]:
    """The scores of each conversation, or why it has none."""
    for number, row in enumerate(rows):
        if job.left:
            return
        try:
            where = f"conversations[{number}]"
            told = {"inputs": row} if isinstance(row, str) else row
            found = monitor.score(to_record(told, where=where, default_id=str(number)))
        except UserError as error:
            found = str(error)
        yield found
