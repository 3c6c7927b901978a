"""What the concept of the paper asks, byte for byte: a change voids every reply that was recorded for it."""

from dataclasses import asdict

import pytest
from stakes import LABELLER, STAKES, WRITER, load_template

from models_under_pressure.baselines.asked import ask_classes
from models_under_pressure.baselines.data import LabelledRecords
from models_under_pressure.core.files import stable_hash
from models_under_pressure.core.records import Record
from models_under_pressure.datasets.labelling import label_question
from models_under_pressure.llm.ask import Failure
from models_under_pressure.llm.config import LLMConfig
from models_under_pressure.synthesis import questions
from models_under_pressure.synthesis.sampling import Factors, Variation

RECORD = Record("1", "How do I cook rice?")
PAIR = [Record(text, text, fields={"pair_id": "p"}) for text in "xy"]
FACTORS = Factors("students", "health and safety", "cooking and household")
MANNER = {name: {"a": "b"} for name in ("prompt_style", "tone", "language", "length")}


def judged():
    asked = []

    def ask(asks):
        asked.extend(asks)
        return [Failure(one.record_id, "timeout", "") for one in asks]

    ask_classes([LabelledRecords("d", (RECORD,))], STAKES, ask)
    return asked[0]


QUESTIONS = {
    **{name: label_question(RECORD, LABELLER.by(name)) for name in ("scale", *STAKES.labelling.criteria)},
    "situation": questions.situation_question(FACTORS, WRITER),
    "prompt_pair": questions.prompt_question("p", ("a", "b"), Variation("a", "a", "a", "a"), MANNER, WRITER),
    "neutralise": questions.rewriting_question(PAIR, "neutralise", WRITER),
    "manipulate": questions.rewriting_question(PAIR, "manipulate", WRITER),
    "annotate": questions.annotation_question(RECORD, WRITER),
    "judge": judged(),
}
HASHES = {
    "scale": "e455226ec41f911ea21f7cbb818cebad2d2a8cbc72d62487530158385111853a",
    "rubric": "3339da593ba4d46f782da4d7aee60c92a8aa13e7f2e95af485507470b23c2d16",
    "anthropic_context": "e72398d1b68c87485f03c34b3d88efb4488a0f8454c586467441fffc06a6e0ea",
    "anthropic_extended_context": "d545de9f366ef0f86e106001ca49bc0ec6ae310f2267cc8c969cc0256594c9a1",
    "mt_context": "8b60a077301ef653c6d9760eed2b753a14ce7d91965beb884c8ab32185c67e80",
    "mt_extended_context": "f44882b9f1fade281f051ac6a4242a1da021ea76cdb07ab8e172389fcb21bec2",
    "situation": "e2d91cc0e5e8d01a5cbc1f327af984e225b38ff4a925f109fff088296f9cfb33",
    "prompt_pair": "595f22e9e3f1d1aa348f49acac19bafd6e890c6884bba6bba06af9b618df588f",
    "neutralise": "ba24fa0fed03444cdbef0585c993a5e71bd48cdcbc690b343a3a03242cd01dc2",
    "manipulate": "738231b436a81c6f3383221ff7c239b1cd1798ad6f9c299f128fcb5e9bd613f0",
    "annotate": "6bac700a8db615d5e06ce766c3e9c0d9772e7d65b44a930572b9e65803777429",
    "judge": "5fc36935a215458721fc90d144ff11477a2df8bc0c2f7569f31d48a1f6dee80e",
}
TEMPLATES = {
    "default": "537b4995c7bdfe71d8261e7fb326f3862ebd4912a87b89455be78d41dc1dbd0c",
    "single_letter": "fe73b0b3a321f83ec42852a979bc96d79dea92f565623fe79382bd6b3d643088",
    "prompt_at_end": "65ce03f87bd6c9b38b6a9fe388b9e8ebac44e36965edfa7b4baabf36a16e9698",
    "single_word": "203453d7a3b983b5e3fa5fe49be240ef4998d75e9d63f8dfd3825a898fd7586b",
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_question_is_what_it_always_was(name):
    assert stable_hash(QUESTIONS[name].body(LLMConfig(model="gpt-4o"))) == HASHES[name]


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_wording_of_the_prompted_baselines_is_what_it_always_was(name):
    assert stable_hash(asdict(load_template(name))) == TEMPLATES[name]
