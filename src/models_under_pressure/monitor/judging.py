"""Who is asked when a probe flags: a model behind an API, or a second probe. The cascade, while the model speaks."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from models_under_pressure.baselines.asked import ask_classes
from models_under_pressure.baselines.data import LabelledRecords
from models_under_pressure.core.concept import Concept
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.records import Record
from models_under_pressure.llm.answering import ask_all
from models_under_pressure.llm.ask import Answer, Ask, Asker, Failure
from models_under_pressure.llm.config import LLMConfig
from models_under_pressure.llm.store import ReplyStore
from models_under_pressure.monitor.live import Monitor
from models_under_pressure.monitor.running import Judge, Verdict
from models_under_pressure.probes.probe import weights_hash

T = TypeVar("T", bound=BaseModel)

_LIKELY = 0.5
"""Probability of the positive class from which a model's verdict stops the reply: likelier than not."""


def model_judge(name: str, concept: Concept, ask: Asker) -> Judge:
    """A model behind an API; its replies are recorded as all are. Without an answer the reply is stopped.

    Args:
        name: name of the model, for the log.
        concept: what is asked for.
        ask: answers questions, from `asking` or `llm.answering.recorded`.
    """

    def judge(record: Record) -> Verdict:
        (asked,) = ask_classes([LabelledRecords("live", (record,))], concept, ask)
        (answer,) = asked.answers
        if not isinstance(answer, Answer):
            return Verdict(judge=name, stops=True, probability=None, reasons=f"no answer: {answer.kind}", asked=name)
        probability = float(asked.probabilities[0])
        stops = probability >= _LIKELY
        return Verdict(judge=name, stops=stops, probability=probability, reasons=answer.value.reasoning, asked=name)

    return judge


@contextmanager
def asking(config: LLMConfig, log: Path | None) -> Generator[Asker]:
    """Yield the way to ask `config.model`: a reply is in the ledger before it is used, and at the end beside the log.

    Raises:
        UserError: see `llm.answering.ask_all`.
    """
    store = ReplyStore() if log is None else open_replies(log)

    def ask(asks: Sequence[Ask[T]], /) -> Sequence[Answer[T] | Failure]:
        return ask_all(asks, config=config, store=store, what="judge")

    try:
        yield ask
    finally:
        if store.record_file is not None:
            store.write_record_file(keep_unused=True)
        store.close()


def open_replies(log: Path) -> ReplyStore:
    """The replies of the judges of a log, which stand beside it: `talk.replies.jsonl`; and the ledger."""
    return ReplyStore(record_file=log.with_suffix(".replies.jsonl"))


def probe_judge(name: str, monitor: Monitor) -> Judge:
    """A second probe, of the same model or another; it stops a reply where its threshold is reached.

    Args:
        name: name of the probe, for the log.
        monitor: the probe alone, with its model.

    Raises:
        UserError: the probe has no threshold at the monitor's false positive rate, so that it could stop nothing.
    """
    ((own, probe),) = monitor.probes.items()
    limit = monitor.thresholds[own]
    if limit is None:
        remedy = "name another probe or rate (--fpr), or train it with more validation data."
        raise UserError(f"the judge {name!r} has no threshold, so that it would stop nothing.", remedy=remedy)
    weights = weights_hash(probe)

    def judge(record: Record) -> Verdict:
        outcome = monitor.score(record)
        logit, probability = outcome.logits[own], outcome.probabilities[own]
        if logit is None:  # it sees no token: nothing speaks for going on
            return Verdict(judge=name, stops=True, probability=None, reasons="no token seen", weights=weights)
        stops = logit >= limit
        return Verdict(judge=name, stops=stops, probability=probability, logit=logit, weights=weights)

    return judge
