"""Rewritten copies of prompt pairs, in which the words tell less of the stakes, or the opposite.

A share of the pairs is rewritten, both prompts in one question, so that they stay a minimal pair. The copies are rows
of their own, with ids of their own, and are labelled anew: a rewrite that changed the stakes does not survive. What
the model would not rewrite is reported, and gives no row.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from pydantic import BaseModel

from models_under_pressure.core.files import stable_hash, stable_uniform
from models_under_pressure.core.records import Message, Record
from models_under_pressure.llm.ask import Ask, Asker, Failure, Form, load_prompt
from models_under_pressure.llm.config import LLMConfig
from models_under_pressure.llm.rehearsal import FILLER, Round, describe_cost, describe_round
from models_under_pressure.synthesis.generate import PACKAGE, PromptPair, SituationPair, Written, usable
from models_under_pressure.synthesis.sampling import ID_LENGTH
from models_under_pressure.synthesis.selection import pairs_of

Rewriting = Literal["neutralise", "manipulate"]
VARIANTS: dict[Rewriting, str] = {"neutralise": "neutralised", "manipulate": "manipulated"}
"""Rewriting -> what the column `variant` of its rows says."""


class RewrittenPair(Form):
    """A pair of prompts in other words: the first has the high stakes."""

    prompt_1: str
    prompt_2: str


class Metadata(Form):
    """What kind of situation a prompt describes."""

    stakes: Literal["high-stakes", "low-stakes", "ambiguous"]
    social: Literal["yes", "no"]
    """Whether what follows matters mainly between people."""
    temporal: Literal["immediate", "far-away"]
    """When what follows comes."""
    causality: Literal["direct", "indirect"]
    """Whether the weightiest consequence follows from the act itself."""
    subject: Literal["model", "user", "other"]
    """Whom the outcome concerns most."""
    reward: Literal["low", "high"]
    """What that one could gain."""
    risk: Literal["low", "high"]
    """What that one could lose."""


WORDS: dict[type[BaseModel], int] = {SituationPair: 60, PromptPair: 90, RewrittenPair: 90}
"""Usual words of each text in a reply; prompts are asked for with 20, 50, 100 and 200 alike."""


def rewrite(
    records: Sequence[Record],
    rewriting: Rewriting,
    *,
    share: float,
    telling_words: Mapping[str, Sequence[str]],
    ask: Asker,
    seed: int,
) -> Written:
    """Write copies of a share of the pairs, without labels; which pairs depends on the seed and their ids alone."""
    pairs = [
        _in_order(members)
        for pair_id, members in pairs_of(records).items()
        if stable_uniform(seed, rewriting, pair_id) < share
    ]
    copies: list[Record] = []
    refused: list[str] = []
    failures: list[Failure] = []
    for pair, answer in zip(
        pairs, ask([rewriting_question(pair, rewriting, telling_words) for pair in pairs]), strict=True
    ):
        if isinstance(answer, Failure):
            failures.append(answer)
            continue
        texts = (answer.value.prompt_1.strip(), answer.value.prompt_2.strip())
        if not usable(*texts) or any(text == record.text for text, record in zip(texts, pair, strict=True)):
            refused.append(str(pair[0].fields["pair_id"]))
            continue
        copies += [_copy(record, text, rewriting) for record, text in zip(pair, texts, strict=True)]
    return Written(copies, refused, failures)


def rewriting_question(
    pair: Sequence[Record], rewriting: Rewriting, telling_words: Mapping[str, Sequence[str]]
) -> Ask[RewrittenPair]:
    """Ask for both prompts of a pair (high stakes first) in other words."""
    system = load_prompt(PACKAGE, rewriting)
    words = "".join(
        f"\n{name} words: {', '.join(telling_words[key])}" for key, name in (("high", "Grave"), ("low", "Light"))
    )
    texts = "\n\n".join(f"prompt_{number}:\n{record.text}" for number, record in enumerate(pair, start=1))
    return Ask(
        record_id=str(pair[0].fields["pair_id"]),
        messages=(Message("system", system + words), Message("user", texts)),
        reply=RewrittenPair,
    )


def annotate(records: Sequence[Record], *, ask: Asker) -> Written:
    """Add the column `metadata` to every record; one without an answer stays as it is."""
    described: list[Record] = []
    failures: list[Failure] = []
    for record, answer in zip(records, ask([annotation_question(record) for record in records]), strict=True):
        if isinstance(answer, Failure):
            failures.append(answer)
            described.append(record)
        else:
            described.append(replace(record, fields={**record.fields, "metadata": answer.value.model_dump()}))
    return Written(described, failures=failures)


def annotation_question(record: Record) -> Ask[Metadata]:
    """Ask for the fields of one prompt."""
    system = load_prompt(PACKAGE, "annotate")
    return Ask(record_id=record.id, messages=(Message("system", system), Message("user", record.text)), reply=Metadata)


def describe(rounds: Sequence[Round], config: LLMConfig, *, most: int) -> str:
    """The first `most` questions of each round, and the cost of them all, for a person."""
    lines = [line for one in rounds for line in _describe_round(one, most)]
    return "\n".join([*lines, "", describe_cost(rounds, config)]) + "\n"


def _in_order(members: Sequence[Record]) -> list[Record]:
    return sorted(members, key=lambda record: not record.fields["high_stakes"])


def _copy(record: Record, text: str, rewriting: Rewriting) -> Record:
    pair_id = str(record.fields["pair_id"])
    fields = {
        **record.fields,
        "pair_id": stable_hash("variant", rewriting, pair_id)[:ID_LENGTH],
        "group": pair_id,
        "variant": VARIANTS[rewriting],
        "variant_of": record.id,
    }
    return Record(id=stable_hash("variant", rewriting, record.id, text)[:ID_LENGTH], input=text, fields=fields)


def _describe_round(one: Round, most: int) -> list[str]:
    if not one.asks:
        return []
    system = one.asks[0].messages[0].content.strip()
    shown = [f"--- {ask.record_id}\n{_short(ask.messages[-1].content)}" for ask in one.asks[:most]]
    return ["", f"=== {describe_round(one)}", f"[system] {system}", *shown]


def _short(text: str) -> str:
    return re.sub(f"(?:{FILLER})+", " …", text)
