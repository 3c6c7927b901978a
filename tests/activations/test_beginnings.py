"""What several texts of a row begin with goes through the model once, and every text keeps its own numbers."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models_under_pressure.activations.config import ExtractConfig, ModelConfig
from models_under_pressure.activations.forward import prepared
from models_under_pressure.activations.model import load_model
from models_under_pressure.activations.packing import plan_shared_rows, sharing_beginnings
from models_under_pressure.activations.tokens import TokenisedRecord

TURN = np.arange(1, 25, dtype=np.int32)
"""What all begin with, as a template's own system turn."""
STORY = np.arange(30, 50, dtype=np.int32)
"""What some go on with."""
TAILS = [[3], [5, 6, 7], [9] * 30]


def texts():
    longer = [np.concatenate([TURN, STORY, tail]).astype(np.int32) for tail in TAILS]
    return [np.concatenate([TURN, TAILS[1]]).astype(np.int32), *longer, longer[1], np.arange(60, 80, dtype=np.int32)]


@given(st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=40), min_size=1, max_size=12))
def test_a_row_holds_every_text_whole_in_its_own_order(lists):
    given_texts = [np.array(one, dtype=np.int32) for one in lists]
    branches = sharing_beginnings(given_texts)
    row = {}
    for text, branch in zip(given_texts, branches, strict=True):
        row |= dict(zip(range(branch.start, branch.stop), text[branch.position :].tolist(), strict=True))
    assert sorted(row) == list(range(len(row)))
    for text, branch in zip(given_texts, branches, strict=True):
        assert [row[place] for place in branch.places.tolist()] == text.tolist()
        assert branch.places.tolist() == sorted(branch.places.tolist())
        assert branch.position < len(text)


@given(st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=40), min_size=1, max_size=30), st.integers(1, 100))
def test_rows_hold_every_text_once_within_the_budget_with_what_they_share_counted_once(lists, budget):
    given_texts = [np.array(one, dtype=np.int32) for one in lists]
    rows = plan_shared_rows(given_texts, budget=budget)
    assert sorted(index for row in rows for index in row) == list(range(len(lists)))
    for row in rows:
        branches = sharing_beginnings([given_texts[index] for index in row])
        assert max(branch.stop for branch in branches) <= budget or len(row) == 1


def test_each_beginning_is_in_the_row_once():
    branches = sharing_beginnings(texts())
    own = [branch.stop - branch.start for branch in branches]
    #    the turn, a short text, a story, three ends of it, of which one comes twice, and another text
    assert sum(own) == len(TURN) + 3 + len(STORY) + 1 + 3 + 30 + 1 + 20


@pytest.mark.parametrize("family", ["llama", "mistral", "gemma3", "gpt2", "neox"])
def test_a_shared_beginning_goes_through_the_model_once_and_changes_no_number(family, model_directory):
    model = load_model(ModelConfig(name=str(model_directory(family)), dtype="float32"))
    records = [
        TokenisedRecord(str(number), ids, np.zeros(len(ids), dtype=np.int8)) for number, ids in enumerate(texts())
    ]
    seen = []
    with prepared(model, [3], ExtractConfig(batch_tokens=512, stored="float32")) as forward:
        alone = [dict(forward.run({0: record}))[0][3] for record in records]
        hook = model.model.get_input_embeddings().register_forward_hook(
            lambda _m, args, _o: seen.append(args[0].numel())
        )
        together = dict(forward.run(dict(enumerate(records))))
        hook.remove()
    assert seen == [102]
    for index, expected in enumerate(alone):
        torch.testing.assert_close(torch.as_tensor(together[index][3]), torch.as_tensor(expected))
