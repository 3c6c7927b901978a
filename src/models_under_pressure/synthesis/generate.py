"""The training prompts as they are asked for: situations, then prompts for them.

A share of the pairs is rewritten so that the words tell less of the class, or the opposite: both prompts in one
question, so that they stay a minimal pair. The copies are rows of their own, with ids of their own, and are labelled
anew: a rewrite that changed the class does not survive. What the model would not rewrite is reported, and gives no
row.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from models_under_pressure.core.concept import Classes
from models_under_pressure.core.files import stable_hash, stable_uniform
from models_under_pressure.core.records import Record
from models_under_pressure.llm.ask import Answer, Asker, Failure, Form
from models_under_pressure.synthesis.questions import (
    PROMPTS,
    Rewriting,
    Writer,
    annotation_question,
    prompt_question,
    rewriting_question,
    situation_question,
)
from models_under_pressure.synthesis.sampling import (
    ID_LENGTH,
    Factors,
    Variation,
    Vocabulary,
    check_languages,
    in_test_split,
    sample_factors,
    sample_variations,
)
from models_under_pressure.synthesis.selection import SynthesisConfig, meant_high, pairs_of

ORIGINAL = "original"
"""Value of the column `variant` of a prompt as it was first written."""


@dataclass(frozen=True, slots=True)
class Written:
    """What the model wrote, the pairs that it would not write, and the questions without an answer."""

    records: Sequence[Record]
    """In the order of sampling, or of what they were made from: the rows of a smaller run come first."""
    refused: Sequence[str] = ()
    """Ids of the pairs that the model declined, left empty, or gave back as they were."""
    failures: Sequence[Failure] = ()


def pair_id(situation_id: str, index: int) -> str:
    """Id of the prompt pair number `index` (from 0) of a situation."""
    return stable_hash("pair", situation_id, index)[:ID_LENGTH]


def usable(*prompts: str) -> bool:
    """Whether the model wrote the prompts: none is empty or the word "refuse"."""
    return not any(prompt.casefold().strip(" .!\"'“”„«»") in ("", "refuse") for prompt in prompts)


@dataclass(frozen=True, slots=True)
class _Pair:
    id: str
    factors: Factors
    variation: Variation
    situations: tuple[str, str]
    """Of the positive class, and of the negative one."""
    again: int
    """Earlier pairs of the situation with the same variation: the same question, asked once more."""


def generate(config: SynthesisConfig, vocabulary: Vocabulary, how: Writer, *, ask: Asker, seed: int) -> Written:
    """Ask for situations, then for prompts; every row knows its pair, its situation and its split.

    Raises:
        UserError: there are fewer combinations of factors than situations asked for, or the language weights do not
            name the languages.
    """
    check_languages(vocabulary, config.language_weights)
    factors = sample_factors(vocabulary.factors, count=config.situations, seed=seed)
    situations = ask([situation_question(one, how) for one in factors])
    pairs = [
        pair
        for one, answer in zip(factors, situations, strict=True)
        if isinstance(answer, Answer)
        for pair in _pairs(one, _texts(answer.value, how.classes.columns), config, vocabulary, seed)
    ]
    manners = vocabulary.variations
    answers = ask(
        [prompt_question(one.id, one.situations, one.variation, manners, how, sample=one.again) for one in pairs]
    )
    records: list[Record] = []
    refused: list[str] = []
    for pair, answer in zip(pairs, answers, strict=True):
        if isinstance(answer, Failure):
            continue
        texts = _texts(answer.value, PROMPTS)
        if not usable(*texts):
            refused.append(pair.id)
            continue
        records += _rows(pair, texts, how.classes, test_fraction=config.test_fraction, seed=seed)
    failures = [answer for answer in (*situations, *answers) if isinstance(answer, Failure)]
    return Written(records, refused, failures)


def _pairs(
    factors: Factors, situations: tuple[str, str], config: SynthesisConfig, vocabulary: Vocabulary, seed: int
) -> list[_Pair]:
    variations = sample_variations(
        vocabulary.variations,
        situation_id=factors.situation_id,
        count=config.prompts_per_situation,
        language_weights=config.language_weights,
        seed=seed,
    )
    return [
        _Pair(pair_id(factors.situation_id, index), factors, variation, situations, variations[:index].count(variation))
        for index, variation in enumerate(variations)
    ]


def _texts(reply: Form, fields: tuple[str, str]) -> tuple[str, str]:
    first, second = (str(getattr(reply, name)) for name in fields)
    return first, second


def _rows(pair: _Pair, prompts: tuple[str, str], classes: Classes, *, test_fraction: float, seed: int) -> list[Record]:
    situation_id = pair.factors.situation_id
    shared = {
        "pair_id": pair.id,
        "situation_id": situation_id,
        "split": "test" if in_test_split(situation_id, test_fraction=test_fraction, seed=seed) else "train",
        "variant": ORIGINAL,
        **asdict(pair.factors),
        **asdict(pair.variation),
    }
    column, _ = classes.columns
    return [
        Record(
            stable_hash("prompt", pair.id, high, text)[:ID_LENGTH],
            text,
            fields={**shared, column: high},
            classes=classes,
        )
        for high, text in zip((True, False), (text.strip() for text in prompts), strict=True)
    ]


VARIANTS: dict[Rewriting, str] = {"neutralise": "neutralised", "manipulate": "manipulated"}
"""Rewriting -> what the column `variant` of its rows says."""


def rewrite(
    records: Sequence[Record],
    rewriting: Rewriting,
    *,
    share: float,
    how: Writer,
    ask: Asker,
    seed: int,
) -> Written:
    """Write copies of a share of the pairs, without labels; which pairs depends on the seed and their ids alone."""
    pairs = [
        sorted(members, key=lambda record: not meant_high(record))
        for pair_id, members in pairs_of(records).items()
        if stable_uniform(seed, rewriting, pair_id) < share
    ]
    copies: list[Record] = []
    refused: list[str] = []
    failures: list[Failure] = []
    answers = ask([rewriting_question(pair, rewriting, how) for pair in pairs])
    for pair, answer in zip(pairs, answers, strict=True):
        if isinstance(answer, Failure):
            failures.append(answer)
            continue
        texts = tuple(text.strip() for text in _texts(answer.value, PROMPTS))
        if not usable(*texts) or any(text == record.text for text, record in zip(texts, pair, strict=True)):
            refused.append(str(pair[0].fields["pair_id"]))
            continue
        copies += [_copy(record, text, rewriting) for record, text in zip(pair, texts, strict=True)]
    return Written(copies, refused, failures)


def annotate(records: Sequence[Record], how: Writer, *, ask: Asker) -> Written:
    """Add the column `metadata` to every record; one without an answer stays as it is."""
    described: list[Record] = []
    failures: list[Failure] = []
    for record, answer in zip(records, ask([annotation_question(record, how) for record in records]), strict=True):
        if isinstance(answer, Failure):
            failures.append(answer)
            described.append(record)
        else:
            described.append(replace(record, fields={**record.fields, "metadata": answer.value.model_dump()}))
    return Written(described, failures=failures)


def _copy(record: Record, text: str, rewriting: Rewriting) -> Record:
    pair_id = str(record.fields["pair_id"])
    fields = {
        **record.fields,
        "pair_id": stable_hash("variant", rewriting, pair_id)[:ID_LENGTH],
        "group": pair_id,
        "variant": VARIANTS[rewriting],
        "variant_of": record.id,
    }
    return Record(
        id=stable_hash("variant", rewriting, record.id, text)[:ID_LENGTH],
        input=text,
        fields=fields,
        classes=record.classes,
    )
