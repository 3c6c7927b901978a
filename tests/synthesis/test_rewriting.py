from dataclasses import replace

import pytest
from stakes import WRITER, Metadata, RewrittenPair

from models_under_pressure.core.concept import Telling
from models_under_pressure.llm.ask import Answer, Failure
from models_under_pressure.synthesis.generate import annotate, generate, rewrite

WORDS = {
    "positive_words": Telling(name="grave", words=("blood",)),
    "negative_words": Telling(name="light", words=("picnic",)),
}
HOW = replace(WRITER, synthesis=WRITER.synthesis.model_copy(update=WORDS))


@pytest.fixture
def originals(making):
    return making.as_meant(
        generate(making.config(10), making.VOCABULARY, making.WRITER, ask=making.inventive, seed=1).records
    )[0]


def rewritten(records, *, share=1.0, ask=None, rewriting="neutralise", seed=0):
    return rewrite(records, rewriting, share=share, how=HOW, ask=ask or reworded, seed=seed)


def reworded(asks):
    return [Answer(RewrittenPair(prompt_1=f"new 1 {a.record_id}", prompt_2=f"new 2 {a.record_id}"), "m") for a in asks]


def test_a_copy_is_a_row_of_its_own_that_names_its_original(originals):
    made = rewritten(originals).records
    assert len(made) == len(originals) == 60
    assert len({row.id for row in (*made, *originals)}) == 120
    by_id = {row.id: row for row in originals}
    for row in made:
        original = by_id[row.fields["variant_of"]]
        assert row.label is None
        assert row.fields["variant"] == "neutralised"
        assert row.input == f"new {1 if original.is_high else 2} {original.fields['pair_id']}"
        assert row.group == original.group
        for kept in ("situation_id", "split", "high_stakes", "topic", "tone"):
            assert row.fields[kept] == original.fields[kept]


def test_copies_of_a_pair_are_a_pair(originals):
    pairs = {}
    for row in (*rewritten(originals).records, *rewritten(originals, rewriting="manipulate").records, *originals):
        pairs.setdefault(row.fields["pair_id"], []).append(row.fields["high_stakes"])
    assert len(pairs) == 90
    assert all(sorted(meant) == [False, True] for meant in pairs.values())


def test_a_share_is_drawn_that_more_pairs_and_a_larger_share_only_extend(originals):
    def chosen(records, share):
        return {row.fields["variant_of"] for row in rewritten(records, share=share).records}

    some = chosen(originals, 0.5)
    assert 10 < len(some) < 50
    assert some < chosen(originals, 0.9)
    assert chosen(originals[:30], 0.5) == some & {row.id for row in originals[:30]}


def test_what_the_model_does_not_rewrite_is_reported_and_never_falls_back_to_the_original(originals):
    high, low = (row.text for row in originals[:2])

    def ask(asks):
        answers = reworded(asks)
        answers[0] = Answer(RewrittenPair(prompt_1=f" {high}", prompt_2="other words"), "m")
        answers[1] = Answer(RewrittenPair(prompt_1="refuse", prompt_2="refuse"), "m")
        answers[2] = Failure(asks[2].record_id, "timeout", "no reply")
        return answers

    made = rewritten(originals, ask=ask)
    assert low != high
    assert made.refused == [originals[0].fields["pair_id"], originals[2].fields["pair_id"]]
    assert [failure.record_id for failure in made.failures] == [originals[4].fields["pair_id"]]
    assert len(made.records) == 60 - 3 * 2


def test_the_question_shows_both_prompts_and_the_words_that_tell(originals):
    asked = []

    def ask(asks):
        asked.extend(asks)
        return reworded(asks)

    rewritten(originals[:2], ask=ask, rewriting="manipulate")
    (question,) = asked
    system, user = (message.content for message in question.messages)
    assert "Grave words: blood\nLight words: picnic" in system
    assert user == f"prompt_1:\n{originals[0].text}\n\nprompt_2:\n{originals[1].text}"


def test_metadata_is_a_column_and_an_unanswered_row_stays_without_it(making, originals):
    def ask(asks):
        answers = making.inventive(asks)
        answers[0] = Failure(asks[0].record_id, "refusal", "no")
        return answers

    annotated = annotate(originals, WRITER, ask=ask)
    assert [failure.record_id for failure in annotated.failures] == [originals[0].id]
    assert annotated.records[0] == originals[0]
    assert all(row.fields["metadata"] == making.METADATA for row in annotated.records[1:])
    assert set(making.METADATA) == set(Metadata.model_fields)
