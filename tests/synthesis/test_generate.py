import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stakes import PromptPair

from models_under_pressure.core.errors import UserError
from models_under_pressure.llm.ask import Answer, Failure
from models_under_pressure.synthesis.generate import generate
from models_under_pressure.synthesis.sampling import load_vocabulary


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32), st.integers(1, 30))
def test_no_pair_and_no_situation_straddles_the_splits_for_any_seed(making, seed, situations):
    records = generate(
        making.config(situations), making.VOCABULARY, making.WRITER, ask=making.inventive, seed=seed
    ).records
    for key in ("pair_id", "situation_id"):
        places = {}
        for record in records:
            places.setdefault(record.fields[key], set()).add(record.fields["split"])
        assert all(len(splits) == 1 for splits in places.values())


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000))
def test_every_pair_is_one_high_and_one_low_prompt_with_ids_of_their_own(making, seed):
    records = generate(making.config(4), making.VOCABULARY, making.WRITER, ask=making.inventive, seed=seed).records
    meant = {}
    for record in records:
        meant.setdefault(record.fields["pair_id"], []).append(record.fields["high_stakes"])
    assert list(meant.values()) == [[True, False]] * 12
    assert len({record.id for record in records}) == 24


@pytest.mark.parametrize("text", ["refuse", "Refuse.", '"refuse"', "« Refuse »", "  "])
def test_a_refused_or_empty_pair_is_counted_and_never_training_data(making, text):
    def ask(asks):
        answers = making.inventive(asks)
        if asks[0].reply is PromptPair:
            answers[0] = Answer(PromptPair(prompt_1="fine", prompt_2=text), "m")
        return answers

    generated = generate(making.config(situations=2), making.VOCABULARY, making.WRITER, ask=ask, seed=1)
    assert len(generated.refused) == 1
    assert len(generated.records) == 2 * 3 * 2 - 2
    assert not any(record.fields["pair_id"] in generated.refused for record in generated.records)


def test_an_unanswered_question_is_listed_and_the_rest_stay_aligned(making):
    whole = generate(
        making.config(situations=3, pairs=2), making.VOCABULARY, making.WRITER, ask=making.inventive, seed=1
    )

    def ask(asks):
        answers = making.inventive(asks)
        answers[1] = Failure(asks[1].record_id, "timeout", "no reply")
        return answers

    generated = generate(making.config(situations=3, pairs=2), making.VOCABULARY, making.WRITER, ask=ask, seed=1)
    assert [failure.kind for failure in generated.failures] == ["timeout", "timeout"]
    assert [record for record in whole.records if record in generated.records] == generated.records
    assert len(generated.records) == len(whole.records) - 6


def test_language_weights_must_be_chances(making):
    with pytest.raises(ValueError, match="sum to 0.9"):
        making.config(language_weights={**making.WEIGHTS, "English": 0.6})
    with pytest.raises(ValueError, match="weights of Hindi are negative"):
        making.config(language_weights={"English": 1.1, "Hindi": -0.1})


def test_language_weights_must_name_the_languages(making):
    weights = {"English": 0.9, "Dutch": 0.1}
    with pytest.raises(UserError, match="has Dutch, French, German, Hindi"):
        generate(
            making.config(language_weights=weights), making.VOCABULARY, making.WRITER, ask=making.inventive, seed=1
        )


def test_a_vocabulary_without_one_of_its_lists_is_an_error(making, tmp_path):
    (tmp_path / "prompt_variations.json").write_text(json.dumps({"prompt_style": {"question": "a question"}}))
    with pytest.raises(UserError, match=r"prompt_variations.json: .*prompt_style, tone, language, length"):
        load_vocabulary(tmp_path, making.STAKES.synthesis.factors)


def test_a_variation_drawn_twice_for_a_situation_is_a_question_asked_twice(making):
    asked = []

    def ask(asks):
        asked.extend(asks)
        return making.inventive(asks)

    records = generate(making.config(20, 20), making.VOCABULARY, making.WRITER, ask=ask, seed=1).records
    questions = [(one.messages, one.sample) for one in asked]
    assert any(one.sample for one in asked)
    assert len(set(questions)) == len(questions)
    assert len({record.text for record in records}) == len(records)
