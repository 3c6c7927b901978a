"""Many questions at once: a fixed number of workers over one queue."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import httpx2
import instructor
from pydantic import BaseModel

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.progress import progress
from models_under_pressure.llm.ask import Answer, Ask, Failure
from models_under_pressure.llm.batch_jobs import Request
from models_under_pressure.llm.client import open_client, sampling, structured
from models_under_pressure.llm.cost import Estimate, input_tokens, price_of
from models_under_pressure.llm.form import reply_form
from models_under_pressure.llm.interrupt import stops_on_signals
from models_under_pressure.llm.outcome import FAILURES, classify
from models_under_pressure.llm.session import Session

T = TypeVar("T", bound=BaseModel)


@dataclass(frozen=True)
class Missing:
    """A question without a recorded reply."""

    record_id: str
    request: Request


@dataclass(frozen=True)
class Outcomes(Generic[T]):
    """What became of the questions, in their order."""

    outcomes: Sequence[Answer[T] | Failure | Missing]
    session: Session

    @property
    def settled(self) -> list[Answer[T] | Failure]:
        """Everything but the missing."""
        return [one for one in self.outcomes if not isinstance(one, Missing)]

    @property
    def missing(self) -> list[Missing]:
        """The questions without a recorded reply."""
        return [one for one in self.outcomes if isinstance(one, Missing)]

    def estimate(self) -> Estimate:
        """What asking for the missing replies takes."""
        config, missing = self.session.config, self.missing
        tokens_in = sum(input_tokens(one.request.body) for one in missing)
        usual = self.session.meter.mean_output_tokens
        tokens_out = (config.max_tokens if usual is None else usual) * len(missing)
        cost = price_of(tokens_in, tokens_out, config.price) if config.price else None
        return Estimate(
            len(self.outcomes), len(self.settled), tokens_in, tokens_out, cost_usd=cost, is_bound=usual is None
        )


async def run(
    asks: Sequence[Ask[T]],
    session: Session,
    *,
    what: str,
    key: str | None = None,
    transport: httpx2.AsyncBaseTransport | None = None,
) -> Outcomes[T]:
    """Put every question, `config.concurrency` at once; `transport` takes the place of the network.

    Raises:
        UserError: the run was stopped; what was under way then is recorded.
    """
    outcomes: list[Answer[T] | Failure | Missing | None] = [None] * len(asks)
    queue = iter(enumerate(asks))
    async with AsyncExitStack() as stack:
        client = structured(await stack.enter_async_context(open_client(session, key=key, transport=transport)))
        stack.enter_context(stops_on_signals(session))
        bar = stack.enter_context(progress(len(asks), what=what, unit="questions"))

        async def work() -> None:
            for index, ask in queue:
                if session.stopped:
                    return
                outcomes[index] = await _put(index, ask, client=client, session=session)
                bar.advance(requests=session.meter.requests, cost=f"${session.meter.cost_usd:,.2f}")

        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(min(session.config.concurrency, len(asks))):
                    workers.create_task(work())
        except ExceptionGroup as group:
            raise group.exceptions[0] from None
        except asyncio.CancelledError:
            if session.stopped is None:  # else the user would not wait for the requests under way
                raise
    if session.stopped:
        raise _with_count(session.stopped, outcomes)
    return Outcomes([outcome for outcome in outcomes if outcome is not None], session)


async def _put(
    index: int, ask: Ask[T], *, client: instructor.AsyncInstructor, session: Session
) -> Answer[T] | Failure | Missing:
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


def _with_count(error: Exception, outcomes: Sequence[object]) -> Exception:
    if not isinstance(error, UserError):
        return error
    answered = sum(isinstance(outcome, Answer) for outcome in outcomes)
    problem = f"{error.problem} {answered:,} of {len(outcomes):,} questions are answered and recorded."
    return UserError(problem, where=error.where, remedy=error.remedy)
