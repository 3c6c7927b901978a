"""Questions that need openai and instructor: the modes, and a fixed number of workers over one queue."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Generic, TypeVar

import httpx2
import instructor
import openai
from instructor.core.exceptions import IncompleteOutputException, InstructorRetryException
from instructor.v2.core.function_calls import response_schema
from pydantic import BaseModel

from models_under_pressure.core.display import progress
from models_under_pressure.core.errors import UserError
from models_under_pressure.llm.ask import Answer, Ask, Failure, reply_schema
from models_under_pressure.llm.batch import collect_open, submit
from models_under_pressure.llm.config import Estimate, LLMConfig, input_tokens, price_of
from models_under_pressure.llm.failures import LONGEST_WAIT, asked_wait, sentence
from models_under_pressure.llm.redact import one_line
from models_under_pressure.llm.reply import Kind
from models_under_pressure.llm.session import Call, Session, stops_on_signals
from models_under_pressure.llm.store import ReplyStore, Request
from models_under_pressure.llm.transport import api_key, needs_key, no_key, open_client, structured

T = TypeVar("T", bound=BaseModel)

FAILURES = (TimeoutError, IncompleteOutputException, InstructorRetryException)
"""What a question may raise; anything else is a defect."""


@dataclass(frozen=True)
class Missing:
    """A question without a recorded reply."""

    record_id: str
    request: Request


@dataclass(frozen=True)
class Outcomes(Generic[T]):
    """Answers, failures and questions without a recorded reply, in the order asked."""

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
        """Number, tokens and cost of the replies that are missing."""
        config, missing = self.session.config, self.missing
        tokens_in = sum(input_tokens(one.request.body) for one in missing)
        usual = self.session.meter.mean_output_tokens
        tokens_out = (config.max_tokens if usual is None else usual) * len(missing)
        cost = price_of(tokens_in, tokens_out, config.price) if config.price else None
        return Estimate(
            len(self.outcomes), len(self.settled), tokens_in, tokens_out, cost_usd=cost, is_bound=usual is None
        )


async def answer_all(
    asks: Sequence[Ask[T]],
    *,
    config: LLMConfig,
    store: ReplyStore,
    what: str,
    transport: httpx2.AsyncBaseTransport | None = None,
) -> list[Answer[T] | Failure]:
    """See `answering.ask_all`; `transport` takes the place of the network."""
    if config.mode == "replay":
        outcomes = await run(asks, Session(config, store, online=False), what=what)
        if outcomes.missing:
            raise _missing(outcomes, what)
        return outcomes.settled
    if config.max_cost_usd is not None and config.price is None:
        raise UserError(
            f"llm.max_cost_usd is set, but llm.prices has no entry for {config.model!r}.",
            remedy="add its price (0 for a server of your own), or say that there is no cap: -S llm.max_cost_usd=null.",
        )
    key = None if transport else api_key(config)
    session = Session(config, store, online=True, has_key=bool(key or transport or not needs_key(config)))
    if config.batch:
        await _fill_by_batch(asks, session, what=what, key=key)
    return (await run(asks, session, what=what, key=key, transport=transport)).settled


async def estimate_all(asks: Sequence[Ask[Any]], *, config: LLMConfig, store: ReplyStore) -> Estimate:
    """See `answering.estimate`."""
    return (await run(asks, Session(config, store, online=False), what="estimate")).estimate()


async def _fill_by_batch(asks: Sequence[Ask[Any]], session: Session, *, what: str, key: str | None) -> None:
    config, store = session.config, session.store
    async with open_client(session, key=key) as client:
        await collect_open(client, config=config, store=store, what=what, redactor=session.redactor)
        outcomes = await run(asks, Session(config, store, online=False), what=f"{what}, looking for replies")
        if not outcomes.missing:
            return
        if not session.has_key:
            raise no_key(config.endpoint)
        cost = outcomes.estimate().cost_usd
        if config.max_cost_usd is not None and cost is not None:
            cost *= 1 - config.batch_discount
            if cost > config.max_cost_usd:
                raise UserError(
                    f"the batch may cost ${cost:,.2f}, more than llm.max_cost_usd (${config.max_cost_usd:,.2f}).",
                    where=f"{what}, model {config.model}",
                    remedy="raise the cap, or ask for less.",
                )
        requests = {one.request.key: one.request for one in outcomes.missing}
        await submit(client, list(requests.values()), config=config, store=store, what=what, redactor=session.redactor)


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
    call = session.call(index, ask)
    messages: list[Any] = [{"role": message.role, "content": message.content} for message in ask.messages]
    # only hosts that honour the schema
    routing = {"provider": {"require_parameters": True}} if config.endpoint == "openrouter" else None
    try:
        async with asyncio.timeout(config.deadline) as call.deadline:
            value, completion = await client.create_with_completion(
                messages=messages,
                response_model=_form(ask.reply),
                max_retries=config.reasks,
                strict=False,  # "7" and 7.0 for an integer are no reason to ask again
                extra_body=routing,
                **config.sampling,
            )
    except FAILURES as error:
        if call.missing is not None:
            return Missing(ask.record_id, call.missing)
        failure = Failure(ask.record_id, *_classify(error, call, session))
        session.observe(call, failure)
        return failure
    session.observe(call, None)
    # instructor's subclass keeps the whole response; the caller gets the class asked for
    return Answer(ask.reply.model_construct(value.model_fields_set, **dict(value)), completion.model)


@lru_cache(maxsize=64)
def _form(reply: type[BaseModel]) -> type[BaseModel]:
    """The class, and its schema, that instructor would otherwise build anew for every call."""
    form: Any = response_schema(reply)
    form.model_json_schema = lambda: dict(reply_schema(reply))
    return form


def _classify(error: BaseException, call: Call, session: Session) -> tuple[Kind, str]:
    """Kind and detail of a failure, with the endpoint's own words; secrets are out of them by now."""
    if call.ended:
        return call.ended
    count = f" after {call.requests} requests" if call.requests > 1 else ""
    if isinstance(error, TimeoutError):
        return "timeout", f"no reply within the deadline{count}"
    cause = error.__cause__
    if isinstance(cause, openai.APITimeoutError):
        return "timeout", f"requests timed out{count}"
    if isinstance(cause, openai.APIStatusError):
        status, said = cause.status_code, sentence(cause.response.content)
        transient = status in (408, 409, 429) or status >= 500
        wait = asked_wait(cause.response.headers) or 0.0
        patience = f", and asks to wait {wait:,.0f} s" if wait > LONGEST_WAIT else ""
        return (
            "transport" if transient else "rejected"
        ), f"HTTP {status}{count}{f': {said}' if said else ''}{patience}"
    if isinstance(cause, openai.APIConnectionError):
        why = one_line(session.redactor.text(f"{type(cause.__cause__).__name__}: {cause.__cause__}"))
        return "transport", f"connection lost or refused{count} ({why})"
    return "invalid", call.complaint or type(cause).__name__


def _missing(outcomes: Outcomes[Any], what: str) -> UserError:
    first = ", ".join(one.record_id for one in outcomes.missing[:5])
    return UserError(
        f"{outcomes.estimate()} (first: {first}).",
        where=f"{what}, model {outcomes.session.config.model}",
        remedy="`dvc pull` if a colleague recorded them; else put a key into .env and run "
        "`dvc exp run -S llm.mode=record`.",
    )


def _with_count(error: Exception, outcomes: Sequence[object]) -> Exception:
    if not isinstance(error, UserError):
        return error
    answered = sum(isinstance(outcome, Answer) for outcome in outcomes)
    problem = f"{error.problem} {answered:,} of {len(outcomes):,} questions are answered and recorded."
    return UserError(problem, where=error.where, remedy=error.remedy)
