import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from models_under_pressure.llm.ask import Answer, Failure

from models_under_pressure.errors import UserError
from models_under_pressure.records import Label, Record
from models_under_pressure.synthesis.generate import SynthesisConfig, Vocabulary, generate
from models_under_pressure.synthesis.questions import PromptPair, SituationPair
from models_under_pressure.synthesis.sampling import in_test_split, sample_factors, sample_variations
from models_under_pressure.synthesis.selection import keep_agreeing_pairs

INPUTS = Path(__file__).parents[2] / "data" / "inputs"
VOCABULARY = Vocabulary(
    factors=json.loads((INPUTS / "situation_factors.json").read_text()),
    variations=json.loads((INPUTS / "prompt_variations.json").read_text()),
)
WEIGHTS = {"English": 0.7, "Hindi": 0.1, "German": 0.1, "French": 0.1}


def config(situations=6, pairs=3):
    return SynthesisConfig(
        situations=situations, prompts_per_situation=pairs, test_fraction=0.3, language_weights=WEIGHTS
    )


def inventive(asks):
    """A model that answers with text made from the question."""
    return [Answer(_invent(ask), "m") for ask in asks]


def _invent(ask):
    if ask.reply is SituationPair:
        return SituationPair(high_stakes=f"serious {ask.record_id}", low_stakes=f"mild {ask.record_id}")
    return PromptPair(prompt_1=f"one {ask.record_id}", prompt_2=f"two {ask.record_id}")


@given(st.integers(0, 2**32), st.integers(1, 30))
def test_no_pair_and_no_situation_straddles_the_splits_for_any_seed(seed, situations):
    records = generate(config(situations), VOCABULARY, ask=inventive, seed=seed).records
    for key in ("pair_id", "situation_id"):
        places = {}
        for record in records:
            places.setdefault(record.fields[key], set()).add(record.fields["split"])
        assert all(len(splits) == 1 for splits in places.values())


@given(st.integers(0, 1000), st.integers(1, 20), st.integers(0, 20))
def test_more_situations_extend_a_run_and_never_change_it(seed, count, more):
    few = sample_factors(VOCABULARY.factors, count=count, seed=seed)
    many = sample_factors(VOCABULARY.factors, count=count + more, seed=seed)
    assert many[:count] == few
    assert len(set(many)) == count + more


def test_a_new_topic_moves_no_situation_to_the_other_split():
    wider = {**VOCABULARY.factors, "topic": [*VOCABULARY.factors["topic"], "a new topic"]}
    old = {f.situation_id for f in sample_factors(VOCABULARY.factors, count=50, seed=1)}
    both = old & {f.situation_id for f in sample_factors(wider, count=60, seed=1)}
    assert len(both) > 25
    assert {i: in_test_split(i, test_fraction=0.3, seed=1) for i in both} == {
        i: in_test_split(i, test_fraction=0.3, seed=1) for i in old & both
    }


def test_languages_are_drawn_with_their_weights():
    drawn = [
        variation.language
        for factors in sample_factors(VOCABULARY.factors, count=800, seed=3)
        for variation in sample_variations(
            VOCABULARY.variations, situation_id=factors.situation_id, count=5, language_weights=WEIGHTS, seed=3
        )
    ]
    assert drawn.count("English") / len(drawn) == pytest.approx(0.7, abs=0.03)
    assert drawn.count("Hindi") / len(drawn) == pytest.approx(0.1, abs=0.02)


def test_more_situations_than_combinations_is_an_error():
    with pytest.raises(UserError, match="3 situations asked for, but the factors give 2"):
        sample_factors({"role_of_user": ["a"], "impact_factor": ["b", "c"], "topic": ["d"]}, count=3, seed=0)


def test_language_weights_must_sum_to_one():
    with pytest.raises(ValueError, match="sum to 0.9"):
        SynthesisConfig(
            situations=1, prompts_per_situation=1, test_fraction=0.1, language_weights={**WEIGHTS, "English": 0.6}
        )


@pytest.mark.parametrize("text", ["refuse", "Refuse.", '"refuse"', "  "])
def test_a_refused_or_empty_pair_is_counted_and_never_training_data(text):
    def ask(asks):
        answers = inventive(asks)
        if asks[0].reply is PromptPair:
            answers[0] = Answer(PromptPair(prompt_1="fine", prompt_2=text), "m")
        return answers

    generated = generate(config(situations=2), VOCABULARY, ask=ask, seed=1)
    assert len(generated.refused) == 1
    assert len(generated.records) == 2 * 3 * 2 - 2
    assert not any(record.fields["pair_id"] in generated.refused for record in generated.records)


def test_an_unanswered_question_is_listed_and_the_rest_stay_aligned():
    def ask(asks):
        answers = inventive(asks)
        answers[1] = Failure(asks[1].record_id, "timeout", "no reply")
        return answers

    generated = generate(config(situations=3, pairs=2), VOCABULARY, ask=ask, seed=1)
    assert [failure.kind for failure in generated.failures] == ["timeout", "timeout"]
    assert all(record.fields["pair_id"] in str(record.input) for record in generated.records)


def test_two_processes_with_different_hash_seeds_draw_the_same():
    code = (
        "import json; from pathlib import Path; from models_under_pressure.synthesis.sampling import *;"
        f"v = json.loads(Path({str(INPUTS / 'situation_factors.json')!r}).read_text());"
        "print([f.situation_id for f in sample_factors(v, count=9, seed=4)])"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


def labelled(id_, pair, *, meant_high, label):
    return Record(id_, "x", label=label, fields={"pair_id": pair, "high_stakes": meant_high})


def test_a_row_whose_label_contradicts_the_intent_goes_with_its_partner():
    rows = [
        labelled("a", "1", meant_high=True, label=Label.HIGH),
        labelled("b", "1", meant_high=False, label=Label.LOW),
        labelled("c", "2", meant_high=True, label=Label.LOW),
        labelled("d", "2", meant_high=False, label=Label.LOW),
        labelled("e", "3", meant_high=True, label=Label.HIGH),
        labelled("f", "4", meant_high=True, label=Label.AMBIGUOUS),
        labelled("g", "4", meant_high=False, label=Label.LOW),
    ]
    selection = keep_agreeing_pairs(rows)
    assert [record.id for record in selection.records] == ["a", "b"]
    assert dict(selection.dropped) == {
        "2": "c was meant high-stakes and labelled low-stakes",
        "3": "its partner has no answer",
        "4": "f was meant high-stakes and labelled ambiguous",
    }
