"""A log of watched conversations, verified: each score and each verdict of a judge is made once more."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from models_under_pressure.activations.config import LoadedModel
from models_under_pressure.core.concept import Concept
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import is_list, is_object
from models_under_pressure.core.records import Record
from models_under_pressure.llm.answering import ask_all
from models_under_pressure.llm.ask import Answer, Ask, Asker, Failure
from models_under_pressure.llm.config import LLMConfig
from models_under_pressure.llm.store import ReplyStore, request_key
from models_under_pressure.monitor.judging import model_judge, open_replies
from models_under_pressure.monitor.running import with_reply
from models_under_pressure.monitor.score import score_records
from models_under_pressure.probes.probe import Probe, weights_hash

T = TypeVar("T", bound=BaseModel)

_BOUNDS = {"float32": 1e-4}
_BOUND = 0.05
"""Greatest difference of a logit between a conversation as it was written and as it is read, in bfloat16."""


@dataclass(frozen=True)
class _Logged:
    """A logit that the log holds, and the conversation that it is of."""

    record: Record
    logit: float


def verify(
    records: Sequence[Record], probe: Probe, model: LoadedModel, *, where: str, llm: LLMConfig, concept: Concept
) -> str:
    """Compare a log with the same conversations now, and say how they agree.

    Args:
        records: the lines of the log.
        probe: the probe that watched, or that judged.
        model: its model.
        where: the log, for messages.
        llm: how models behind an API were asked; the log names the model.
        concept: what they were asked for.

    Raises:
        UserError: a line was not scored with this probe, has another score, or a judge's recorded reply says
            something else.
    """
    weights = weights_hash(probe)
    found = [(record, list(_logits(record, weights))) for record in records]
    if missing := next((record for record, logged in found if not logged), None):
        remedy = "name the probe that watched (its weights' hash is in the log)."
        raise UserError(f"record {missing.id!r} has no score of this probe.", where=where, remedy=remedy)
    logged = [one for _, several in found for one in several]
    largest = _compare(logged, probe, model, where)
    verified = f"{len(records)} conversations verified, largest difference of a logit {largest:.1e}"
    return verified + _told(_verdicts(records, llm, concept, where))


def _logits(record: Record, weights: str) -> Iterator[_Logged]:
    """What the log says of a probe: of the whole conversation, and of it so far where the probe was the judge."""
    scores = record.fields.get("scores")
    entries = list(scores.values()) if is_object(scores) else []
    for entry in entries:
        if is_object(entry) and entry.get("weights") == weights and isinstance(entry.get("logit"), int | float):
            yield _Logged(record, entry["logit"])
    for so_far, verdict in _escalations(record):
        if verdict.get("weights") == weights and isinstance(verdict.get("logit"), int | float):
            yield _Logged(so_far, verdict["logit"])


def _escalations(record: Record) -> Iterator[tuple[Record, Mapping[str, Any]]]:
    """Each conversation that a judge saw, and its verdict."""
    several = record.fields.get("escalations")
    for one in filter(is_object, several if is_list(several) else ()):
        verdict, reply = one.get("verdict"), one.get("reply")
        if is_object(verdict) and isinstance(reply, str):
            whole = record.messages
            before = whole[:-1] if whole[-1].role == "assistant" else whole
            yield with_reply(replace(record, input=before), reply), verdict


def _compare(logged: Sequence[_Logged], probe: Probe, model: LoadedModel, where: str) -> float:
    bound = _BOUNDS.get(str(probe.provenance.get("compute_dtype")), _BOUND)
    numbered = [replace(one.record, id=str(number)) for number, one in enumerate(logged)]
    largest = 0.0
    for one, scored in zip(logged, score_records(numbered, probe, model), strict=True):
        difference = abs(scored.logit - one.logit)
        if not difference <= bound:
            problem = f"record {one.record.id!r} was logged with the logit {one.logit:.6f} and has {scored.logit:.6f}."
            raise UserError(problem, where=where, remedy="the log, the probe or the model is another than it was.")
        largest = max(largest, difference)
    return largest


def _verdicts(records: Sequence[Record], llm: LLMConfig, concept: Concept, where: str) -> tuple[int, int]:
    """How many verdicts of models are verified by recorded replies, and how many have none here."""
    asked = [(so_far, said) for record in records for so_far, said in _escalations(record) if said.get("asked")]
    if not asked:
        return 0, 0
    verified = 0
    with closing(open_replies(Path(where))) as store:
        for so_far, said in asked:
            config = llm.model_copy(update={"model": str(said["asked"]), "mode": "replay"})
            try:
                verdict = model_judge(str(said["judge"]), concept, _replaying(config, store))(so_far)
            except _UnrecordedError:
                continue
            if (verdict.probability, verdict.reasons) != (said.get("probability"), said.get("reasons", "")):
                problem = f"record {so_far.id!r} was judged {said.get('probability')}, its recorded reply says "
                problem += f"{verdict.probability}, or gives other reasons."
                raise UserError(problem, where=where, remedy="the log or the recorded replies are not what they were.")
            verified += 1
    return verified, len(asked) - verified


class _UnrecordedError(Exception):
    """A question has no recorded reply here."""


def _replaying(config: LLMConfig, store: ReplyStore) -> Asker:
    def ask(asks: Sequence[Ask[T]], /) -> Sequence[Answer[T] | Failure]:
        if any(store.get(request_key(one.body(config), sample=one.sample)) is None for one in asks):
            raise _UnrecordedError
        return ask_all(asks, config=config, store=store, what="judge")

    return ask


def _told(counts: tuple[int, int]) -> str:
    verified, unrecorded = counts
    told = f"; {verified} verdicts of models verified" if verified else ""
    return told + (f"; {unrecorded} verdicts of models have no recorded reply here" if unrecorded else "")
