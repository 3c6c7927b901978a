"""Answering many questions by the mode that is set: replay, record, refresh, with or without batches."""

from collections.abc import Sequence
from typing import Any, TypeVar

import httpx2
from pydantic import BaseModel

from models_under_pressure.core.errors import UserError
from models_under_pressure.llm.ask import Answer, Ask, Failure
from models_under_pressure.llm.batch import collect_open, submit
from models_under_pressure.llm.config import Estimate, LLMConfig
from models_under_pressure.llm.run import Outcomes, run
from models_under_pressure.llm.session import Session
from models_under_pressure.llm.store import ReplyStore
from models_under_pressure.llm.transport import api_key, needs_key, no_key, open_client

T = TypeVar("T", bound=BaseModel)


async def answer_all(
    asks: Sequence[Ask[T]],
    *,
    config: LLMConfig,
    store: ReplyStore,
    what: str,
    transport: httpx2.AsyncBaseTransport | None = None,
) -> list[Answer[T] | Failure]:
    """See `ask_all`; `transport` takes the place of the network."""
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
    """See `estimate`."""
    return (await run(asks, Session(config, store, online=False), what="estimate")).estimate()


async def _fill_by_batch(asks: Sequence[Ask[Any]], session: Session, *, what: str, key: str | None) -> None:
    config, store = session.config, session.store
    async with open_client(session, key=key) as client:
        await collect_open(client, config=config, store=store, what=what)
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
        await submit(client, list(requests.values()), config=config, store=store, what=what)


def _missing(outcomes: Outcomes[Any], what: str) -> UserError:
    first = ", ".join(one.record_id for one in outcomes.missing[:5])
    return UserError(
        f"{outcomes.estimate()} (first: {first}).",
        where=f"{what}, model {outcomes.session.config.model}",
        remedy="`dvc pull` if a colleague recorded them; else put a key into .env and run "
        "`dvc exp run -S llm.mode=record`.",
    )
