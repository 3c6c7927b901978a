"""The Batch API as a way to fill the ledger: cheaper, within a day; the run after it finds the replies recorded.

Format: OpenAI's batch files, one request a line, `custom_id` = the request's key.
"""

import asyncio
import json
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from uuid import uuid4

import openai
from openai.types import Batch

from models_under_pressure.core.display import Progress, progress
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import canonical_json
from models_under_pressure.llm.config import LLMConfig, cost_of
from models_under_pressure.llm.failures import mapping, parsed, sentence
from models_under_pressure.llm.ledger import Ledger
from models_under_pressure.llm.redact import Redactor, one_line
from models_under_pressure.llm.reply import completion_in, from_completion
from models_under_pressure.llm.store import ReplyStore, Request, keyed_request

_MAX_LINES = 50_000
_MAX_BYTES = 150_000_000
"""OpenAI takes 50,000 lines and 200 MB per file."""
_OVER = ("completed", "expired", "cancelled", "failed")


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
    with ledger.used(), ledger.connection() as transaction:
        transaction.execute("insert into batches values (?, ?, ?, null)", (job.name, what, endpoint))
        transaction.executemany("insert into awaited values (?, ?, ?, ?, ?)", rows)
    return job


def set_batch_id(ledger: Ledger, job: Job, batch_id: str) -> Job:
    """Note the id that the endpoint gave to a batch."""
    with ledger.used(), ledger.connection() as transaction:
        transaction.execute("update batches set batch_id = ? where name = ?", (batch_id, job.name))
    return replace(job, batch_id=batch_id)


def open_jobs(ledger: Ledger, *, what: str, endpoint: str) -> list[Job]:
    """The batches that were begun for the same purpose and not yet collected."""
    if not ledger.exists:
        return []
    query = "select name, what, endpoint, batch_id from batches where what = ? and endpoint = ? order by name"
    with ledger.used():
        return [Job(*row) for row in ledger.connection().execute(query, (what, endpoint))]


def awaited(ledger: Ledger, job: Job) -> dict[str, Request]:
    """The requests of a batch, by key."""
    query = "select key, sample, fresh, request from awaited where name = ?"
    with ledger.used():
        rows = ledger.connection().execute(query, (job.name,))
        return {key: Request(key, sample, bool(fresh), json.loads(body)) for key, sample, fresh, body in rows}


def end_job(ledger: Ledger, job: Job) -> None:
    """Forget a batch: all its replies are in the ledger."""
    with ledger.used(), ledger.connection() as transaction:
        transaction.execute("delete from awaited where name = ?", (job.name,))
        transaction.execute("delete from batches where name = ?", (job.name,))


async def collect_open(
    client: openai.AsyncOpenAI, *, config: LLMConfig, store: ReplyStore, what: str, redactor: Redactor
) -> None:
    """Collect the batches that an earlier run submitted and did not live to see.

    Raises:
        UserError: see `submit`.
    """
    for job in open_jobs(store.ledger, what=what, endpoint=config.place):
        with _explained(config, redactor):
            found = await _found(client, job, store=store)
            await _collect(client, found, config=config, store=store, redactor=redactor)


async def submit(
    client: openai.AsyncOpenAI,
    requests: Sequence[Request],
    *,
    config: LLMConfig,
    store: ReplyStore,
    what: str,
    redactor: Redactor,
) -> None:
    """Submit requests, wait for their replies and record them; those that fail stay missing.

    Raises:
        UserError: the endpoint cannot be reached or refuses the batch; run again to resume.
    """
    with _explained(config, redactor):
        jobs = [await _submit_part(client, part, config=config, store=store, what=what) for part in _parts(requests)]
        for job in jobs:
            await _collect(client, job, config=config, store=store, redactor=redactor)


def _parts(requests: Sequence[Request]) -> Iterator[list[tuple[Request, bytes]]]:
    part: list[tuple[Request, bytes]] = []
    size = 0
    for request in requests:
        line = {"custom_id": request.key, "method": "POST", "url": "/v1/chat/completions", "body": request.body}
        data = json.dumps(line, ensure_ascii=False).encode() + b"\n"
        if part and (len(part) == _MAX_LINES or size + len(data) > _MAX_BYTES):
            yield part
            part, size = [], 0
        part.append((request, data))
        size += len(data)
    if part:
        yield part


async def _submit_part(
    client: openai.AsyncOpenAI,
    part: Sequence[tuple[Request, bytes]],
    *,
    config: LLMConfig,
    store: ReplyStore,
    what: str,
) -> Job:
    data = b"".join(line for _, line in part)
    upload = await client.files.create(file=("requests.jsonl", data), purpose="batch")
    job = begin_job(store.ledger, [request for request, _ in part], what=what, endpoint=config.place)
    batch = await client.batches.create(
        input_file_id=upload.id,
        endpoint="/v1/chat/completions",
        completion_window="24h",
        metadata={"name": job.name},
    )
    return set_batch_id(store.ledger, job, batch.id)


async def _found(client: openai.AsyncOpenAI, job: Job, *, store: ReplyStore) -> Job:
    """The job with its id, also if the run was killed between submitting it and noting the id."""
    if job.batch_id is None:
        async for batch in client.batches.list(limit=100):
            if (batch.metadata or {}).get("name") == job.name:
                return set_batch_id(store.ledger, job, batch.id)
    return job


async def _collect(
    client: openai.AsyncOpenAI, job: Job, *, config: LLMConfig, store: ReplyStore, redactor: Redactor
) -> None:
    if job.batch_id is None:  # it was never submitted
        return end_job(store.ledger, job)
    requests = awaited(store.ledger, job)
    with progress(len(requests), what=f"{job.what}, batch {job.batch_id}", unit="questions") as bar:
        batch = await _wait(client, job.batch_id, bar, config=config)
    if batch.status == "failed":
        end_job(store.ledger, job)
        errors = (batch.errors and batch.errors.data) or ()
        told = {": ".join(filter(None, (error.code, error.message))) for error in errors}
        reasons = "; ".join(one_line(redactor.text(one)) for one in sorted(told)) or "no reason given"
        raise UserError(
            f"the endpoint refused batch {one_line(batch.id)} ({reasons}).",
            where=config.place,
            remedy="see the batch at the endpoint, or set llm.batch: false.",
        )
    if batch.output_file_id is not None:
        content = await client.files.content(batch.output_file_id)
        _record(content.content, requests, config=config, store=store, redactor=redactor)
    end_job(store.ledger, job)
    return None


async def _wait(client: openai.AsyncOpenAI, batch_id: str, bar: Progress, *, config: LLMConfig) -> Batch:
    done = 0
    while True:
        batch = await client.batches.retrieve(batch_id)
        if batch.request_counts is not None:
            finished = batch.request_counts.completed + batch.request_counts.failed
            bar.advance(finished - done, status=batch.status)
            done = finished
        if batch.status in _OVER:
            return batch
        await asyncio.sleep(config.batch_poll_seconds)


def _record(
    data: bytes, requests: dict[str, Request], *, config: LLMConfig, store: ReplyStore, redactor: Redactor
) -> None:
    cost = 0.0
    with progress(len(requests), what="recording the batch", unit="replies") as bar:
        for line in data.splitlines():
            row = mapping(parsed(line))
            request, response = requests.get(str(row.get("custom_id"))), mapping(row.get("response"))
            completion = completion_in(response.get("body")) if response.get("status_code") == 200 else None
            if request is None or completion is None:
                continue
            completion = redactor.value(completion)
            store.put(dict(request.body), completion, sample=request.sample, fresh=request.fresh)
            paid = cost_of(from_completion(completion).usage, config.price) or 0.0
            cost += paid * (1 - config.batch_discount)
            bar.advance(cost=f"${cost:,.2f}")


@contextmanager
def _explained(config: LLMConfig, redactor: Redactor) -> Generator[None]:
    try:
        yield
    except openai.OpenAIError as error:
        status = f"HTTP {error.status_code}" if isinstance(error, openai.APIStatusError) else type(error).__name__
        said = None
        if isinstance(error, openai.APIStatusError):
            said = sentence(redactor.text(error.response.text).encode())
        raise UserError(
            f"the Batch API failed ({status}{f': {said}' if said else ''}).",
            where=config.place,
            remedy="run again: a batch that was submitted is taken up, not submitted twice.",
        ) from None
