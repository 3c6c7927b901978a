"""Answers written by hand, as the recorded replies of a chat model."""

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import httpx2
from pydantic import BaseModel

from models_under_pressure.core.errors import UserError
from models_under_pressure.llm.ask import Answer, Ask
from models_under_pressure.llm.config import LLMConfig
from models_under_pressure.llm.reply import Reply, to_completion
from models_under_pressure.llm.run import answer_all
from models_under_pressure.llm.session import CURRENT_CALL
from models_under_pressure.llm.store import ReplyStore

T = TypeVar("T", bound=BaseModel)


def author_replies(
    asks: Sequence[Ask[T]], answers: Sequence[T], *, config: LLMConfig, path: Path, model: str = "demo-authors"
) -> int:
    """Write answers as the replies to questions, in the form of recorded ones; returns their number.

    The questions go the same way as to a real endpoint, up to the HTTP request. Other lines of an existing file
    stay; a reply to the same request is replaced.

    Raises:
        UserError: two equal questions have different answers.
    """
    if len(asks) != len(answers):
        raise ValueError(f"{len(asks)} questions, but {len(answers)} answers")
    offline = config.model_copy(
        update={
            "mode": "refresh",
            "refresh_ids": "*",
            "max_cost_usd": None,
            "requests_per_minute": None,
            "tokens_per_minute": None,
            "batch": False,
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        store = ReplyStore(record_file=path, ledger=Path(folder) / "ledger.sqlite")
        outcomes = asyncio.run(
            answer_all(
                asks, config=offline, store=store, what="write replies", transport=_answering(answers, model=model)
            )
        )
        for ask, answer, outcome in zip(asks, answers, outcomes, strict=True):
            if not isinstance(outcome, Answer) or outcome.value != answer:
                raise UserError(
                    "its answer is not what a replay would return.",
                    where=f"{path}, {ask.record_id}",
                    remedy="give equal questions equal answers, or different sample numbers; "
                    f"an answer must fit the form {ask.reply.__name__}.",
                )
        store.write_record_file(keep_unused=True)
        store.close()
    return len(asks)


def _answering(answers: Sequence[BaseModel], *, model: str) -> httpx2.MockTransport:
    """An endpoint in this process that gives each question its own answer."""

    def respond(request: httpx2.Request) -> httpx2.Response:
        content = answers[CURRENT_CALL.get().index].model_dump_json()
        reply = Reply(content=content, refusal=None, finish_reason="stop", model=model, usage=None)
        return httpx2.Response(200, json=to_completion(reply) | {"usage": None}, request=request)

    return httpx2.MockTransport(respond)
