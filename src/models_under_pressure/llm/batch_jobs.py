"""Batches under way, in the ledger, so that a killed run finds what it has submitted and paid for."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from models_under_pressure.core.files import canonical_json
from models_under_pressure.llm.ledger import Ledger
from models_under_pressure.llm.request_key import keyed_request


@dataclass(frozen=True, slots=True)
class Request:
    """A request whose reply is awaited."""

    key: str
    sample: int
    fresh: bool
    """Whether its reply takes the place of a recorded one."""
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Job:
    """One batch: our name of it, what it is for, who answers it."""

    name: str
    what: str
    endpoint: str
    batch_id: str | None = None
    """Its id at the endpoint; None until that is known."""


def begin_job(ledger: Ledger, requests: Sequence[Request], *, what: str, endpoint: str) -> Job:
    """Note that a batch is about to be submitted; before it is, so that no submitted batch is ever forgotten."""
    job = Job(uuid4().hex, what, endpoint)
    rows = [
        (job.name, one.key, one.sample, one.fresh, canonical_json(keyed_request(dict(one.body)))) for one in requests
    ]
    with ledger.connection() as transaction:
        transaction.execute("insert into batches values (?, ?, ?, null)", (job.name, what, endpoint))
        transaction.executemany("insert into awaited values (?, ?, ?, ?, ?)", rows)
    return job


def set_batch_id(ledger: Ledger, job: Job, batch_id: str) -> Job:
    """Note the id that the endpoint gave to a batch."""
    with ledger.connection() as transaction:
        transaction.execute("update batches set batch_id = ? where name = ?", (batch_id, job.name))
    return replace(job, batch_id=batch_id)


def open_jobs(ledger: Ledger, *, what: str, endpoint: str) -> list[Job]:
    """The batches that were begun for the same purpose and not yet collected."""
    if not ledger.exists:
        return []
    query = "select name, what, endpoint, batch_id from batches where what = ? and endpoint = ? order by name"
    return [Job(*row) for row in ledger.connection().execute(query, (what, endpoint))]


def awaited(ledger: Ledger, job: Job) -> dict[str, Request]:
    """The requests of a batch, by key."""
    rows = ledger.connection().execute("select key, sample, fresh, request from awaited where name = ?", (job.name,))
    return {key: Request(key, sample, bool(fresh), json.loads(body)) for key, sample, fresh, body in rows}


def end_job(ledger: Ledger, job: Job) -> None:
    """Forget a batch: all its replies are in the ledger."""
    with ledger.connection() as transaction:
        transaction.execute("delete from awaited where name = ?", (job.name,))
        transaction.execute("delete from batches where name = ?", (job.name,))
