"""Many questions at once: a fixed number of workers over one queue."""

import asyncio
import json
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Generic, TypeVar

import httpx2
import instructor
import openai
from instructor.core.exceptions import IncompleteOutputException, InstructorRetryException
from instructor.v2.core.function_calls import response_schema
from pydantic import BaseModel, ValidationError

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.progress import notice, progress
from models_under_pressure.llm.ask import Answer, Ask, Failure
from models_under_pressure.llm.batch import Request
from models_under_pressure.llm.config import Estimate, input_tokens, price_of
from models_under_pressure.llm.reply import Kind
from models_under_pressure.llm.session import Call, Session
from models_under_pressure.llm.transport import open_client, sampling, structured

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stops_on_signals(session: Session) -> Iterator[None]:
    """Let the first signal stop the run, so that requests under way are awaited; a second one ends it at once."""
    if threading.current_thread() is not threading.main_thread():  # only there Python hears of signals
        yield
        return
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def stop() -> None:
        if session.stopped is None:
            notice("interrupted: waiting for the requests under way; once more to give them up")
            session.stop(UserError("interrupted.", remedy="run again to go on from here."))
        else:
            task.cancel()

    for number in _SIGNALS:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
            signal.signal(number, before[number])


@lru_cache(maxsize=64)
def reply_form(reply: type[BaseModel]) -> type[BaseModel]:
    """The class, and its schema, that instructor would otherwise build anew for every call.

    Raises:
        TypeError: the form has optional fields or allows extra ones, which endpoints refuse in strict schemas.
    """
    form = response_schema(reply)
    schema = form.model_json_schema()
    for name, part in [(reply.__name__, schema), *schema.get("$defs", {}).items()]:
        _check(name, part)
    form.model_json_schema = lambda: dict(schema)  # pyright: ignore[reportAttributeAccessIssue]
    return form


def _check(name: str, part: dict[str, Any]) -> None:
    if part.get("type") != "object":
        return
    if part.get("additionalProperties") is not False:
        raise TypeError(f'{name} needs model_config = ConfigDict(extra="forbid")')
    optional = sorted(set(part.get("properties", {})) - set(part.get("required", ())))
    if optional:
        raise TypeError(f"{name} has optional fields: {', '.join(optional)}; give them no default")


FAILURES = (TimeoutError, IncompleteOutputException, InstructorRetryException)
"""What a question may raise; anything else is a defect."""


def classify(error: BaseException, call: Call) -> tuple[Kind, str]:
    """Kind and detail of a failure. Texts of the endpoint are left out: they may quote the key."""
    if call.ended:
        return call.ended
    if isinstance(error, TimeoutError):
        return "timeout", f"no reply within the deadline, {call.requests} requests"
    cause = error.__cause__
    if isinstance(cause, openai.APITimeoutError):
        return "timeout", f"{call.requests} requests timed out"
    if isinstance(cause, openai.APIStatusError):
        status = cause.status_code
        transient = status in (408, 409, 429) or status >= 500
        return ("transport" if transient else "rejected"), f"HTTP {status} after {call.requests} requests"
    if isinstance(cause, openai.APIConnectionError):
        return "transport", f"connection lost or refused, {call.requests} requests"
    return "invalid", _mismatch(cause)


def _mismatch(cause: BaseException | None) -> str:
    if isinstance(cause, ValidationError):
        problems = cause.errors(include_url=False, include_input=False, include_context=False)
        return "; ".join(f"{'.'.join(map(str, one['loc'])) or 'reply'}: {one['msg']}" for one in problems)
    if isinstance(cause, json.JSONDecodeError):
        return "reply is not JSON"
    return type(cause).__name__


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
