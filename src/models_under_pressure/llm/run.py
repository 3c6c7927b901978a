"""Many questions at once: a fixed number of workers over one queue."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx2
import instructor
from pydantic import BaseModel

from models_under_pressure.errors import UserError
from models_under_pressure.llm.ask import Answer, Ask, Failure
from models_under_pressure.llm.client import api_key, needs_key, open_client, reply_form, sampling, structured
from models_under_pressure.llm.config import LLMConfig
from models_under_pressure.llm.cost import Estimate, input_tokens, price_of
from models_under_pressure.llm.outcome import FAILURES, classify
from models_under_pressure.llm.session import Session
from models_under_pressure.llm.store import ReplyStore
from models_under_pressure.progress import progress

T = TypeVar("T", bound=BaseModel)


@dataclass(frozen=True)
class Missing:
    """A request without a recorded reply (replay only)."""

    record_id: str
    body: dict[str, Any]


Outcome = Answer[T] | Failure | Missing


async def answer_all(
    asks: Sequence[Ask[T]],
    *,
    config: LLMConfig,
    store: ReplyStore,
    what: str,
    transport: httpx2.AsyncBaseTransport | None = None,
) -> list[Answer[T] | Failure]:
    """See `ask_all`; `transport` takes the place of the network."""
    online = config.mode != "replay"
    if online and config.max_cost_usd is not None and config.price is None:
        raise UserError(
            f"llm.max_cost_usd is set, but llm.prices has no entry for {config.model!r}.",
            remedy="add its price, or set the cap to null.",
        )
    outcomes = await run(asks, config=config, store=store, what=what, online=online, transport=transport)
    missing = [outcome for outcome in outcomes if isinstance(outcome, Missing)]
    if missing:
        counted = _estimate(outcomes, missing, config)
        first = ", ".join(one.record_id for one in missing[:5])
        raise UserError(
            f"{counted} (first: {first}).",
            where=f"{what}, model {config.model}",
            remedy="`dvc pull` if a colleague recorded them; else put a key into .env and run "
            "`dvc exp run -S llm.mode=record`.",
        )
    return [outcome for outcome in outcomes if not isinstance(outcome, Missing)]


async def estimate_all(asks: Sequence[Ask[Any]], *, config: LLMConfig, store: ReplyStore) -> Estimate:
    """See `estimate`."""
    outcomes = await run(asks, config=config, store=store, what="estimate", online=False)
    return _estimate(outcomes, [outcome for outcome in outcomes if isinstance(outcome, Missing)], config)


async def run(
    asks: Sequence[Ask[T]],
    *,
    config: LLMConfig,
    store: ReplyStore,
    what: str,
    online: bool,
    transport: httpx2.AsyncBaseTransport | None = None,
) -> list[Outcome[T]]:
    """Put every question, `config.concurrency` at once.

    Raises:
        UserError: the run was stopped; what was under way is recorded.
    """
    key = api_key(config) if online and transport is None else None
    session = Session(config, store, online=online, has_key=bool(key or transport or not needs_key(config)))
    outcomes: list[Outcome[T] | None] = [None] * len(asks)
    queue = iter(enumerate(asks))
    async with AsyncExitStack() as stack:
        client = structured(await stack.enter_async_context(open_client(session, key=key, transport=transport)))
        bar = stack.enter_context(progress(len(asks), what=what, unit="questions"))

        async def work() -> None:
            for index, ask in queue:
                if session.stopped:
                    return
                outcomes[index] = await _put(index, ask, client=client, session=session)
                meter = session.meter
                bar.advance(requests=meter.requests, cost=f"${meter.cost_usd:,.2f}")

        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(min(config.concurrency, len(asks))):
                    workers.create_task(work())
        except ExceptionGroup as group:
            raise group.exceptions[0] from None
    if session.stopped:
        raise _stopped(session, outcomes)
    return [outcome for outcome in outcomes if outcome is not None]


async def _put(index: int, ask: Ask[T], *, client: instructor.AsyncInstructor, session: Session) -> Outcome[T]:
    config = session.config
    call = session.call(index, ask.record_id, ask.sample)
    messages: list[Any] = [{"role": message.role, "content": message.content} for message in ask.messages]
    try:
        async with asyncio.timeout(config.deadline) as call.deadline:
            value, completion = await client.create_with_completion(
                messages=messages,
                response_model=reply_form(ask.reply),
                max_retries=config.reasks,
                strict=False,  # "7" and 7.0 for an integer are no reason to ask again
                **sampling(config),
            )
    except FAILURES as error:
        if call.missing is not None:
            return Missing(ask.record_id, call.missing)
        kind, detail = classify(error, call)
        session.observe(call, kind)
        return Failure(ask.record_id, kind, detail)
    session.observe(call, None)
    # instructor's subclass keeps the whole response; the caller gets the class asked for
    return Answer(ask.reply.model_construct(value.model_fields_set, **dict(value)), completion.model)


def _estimate(outcomes: Sequence[Outcome[Any]], missing: Sequence[Missing], config: LLMConfig) -> Estimate:
    tokens_in = sum(input_tokens(one.body) for one in missing)
    tokens_out = config.max_tokens * len(missing)
    cost = price_of(tokens_in, tokens_out, config.price) if config.price else None
    return Estimate(len(outcomes), len(outcomes) - len(missing), tokens_in, tokens_out, cost)


def _stopped(session: Session, outcomes: Sequence[Outcome[Any] | None]) -> UserError:
    error = session.stopped
    assert error is not None
    answered = sum(isinstance(outcome, Answer) for outcome in outcomes)
    problem = f"{error.problem} {answered:,} of {len(outcomes):,} questions are answered and recorded."
    return UserError(problem, where=error.where, remedy=error.remedy)
