"""What a classifier reads: the chat template's text, whole, and nothing of its neighbours."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models_under_pressure.baselines.finetuned.classifier import make_classifier
from models_under_pressure.baselines.finetuned.reading import score, tokenised_split
from models_under_pressure.core.records import to_record


@pytest.fixture(scope="module")
def classifier(settings):
    return make_classifier(settings(), seed=0)


@pytest.mark.parametrize("packs", [True, False], ids=["packed", "padded"])
def test_a_score_does_not_depend_on_the_batch(classifier, split, packs):
    one = replace(classifier, packs=packs)
    records = split(24).records
    alone = np.concatenate([score(one, [record], batch_tokens=256) for record in records])
    for budget in (1, 100, 700, 10_000):
        np.testing.assert_array_equal(score(one, records, batch_tokens=budget), alone)
    backwards = score(one, records[::-1], batch_tokens=700)[::-1]
    np.testing.assert_array_equal(backwards, alone)


def test_packed_and_padded_batches_agree(classifier, split):
    records = split(24).records
    packed, padded = (score(replace(classifier, packs=packs), records, batch_tokens=500) for packs in (True, False))
    np.testing.assert_allclose(packed, padded, rtol=1e-4, atol=1e-5)


def test_the_last_real_token_is_pooled_although_the_pad_token_ends_turns(classifier, split):
    """Against Hugging Face's own hidden states, one record at a time."""
    records = split(12).records
    tokenizer = classifier.loaded.tokenizer
    assert tokenizer.pad_token_id == tokenizer.eos_token_id == records[0].token_ids[-1]
    expected = []
    with torch.inference_mode():
        for record in records:
            ids = torch.tensor(record.token_ids[None].astype(np.int64))
            final = classifier.decoder(input_ids=ids).last_hidden_state[0, -1]
            low, high = classifier.head(final)
            expected.append(float(high - low))
    for packs in (True, False):
        found = score(replace(classifier, packs=packs), records, batch_tokens=400)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_dialogues_are_read_through_the_chat_template_never_as_json(classifier, making, settings):
    dialogue = '[{"role": "user", "content": "Is this safe?"}, {"role": "assistant", "content": "No."}]'
    rows = [{"ids": "a", "inputs": dialogue, "labels": 1}, {"ids": "b", "inputs": "Hello", "labels": 0}]
    records = tuple(to_record(row, where="test", default_id="0") for row in rows)
    data = making.LabelledRecords("toy", records)
    found = tokenised_split(data, classifier.loaded, settings()).records
    texts = [classifier.loaded.tokenizer.decode(record.token_ids) for record in found]
    assert texts == [
        "<|im_start|>user\nIs this safe?<|im_end|><|im_start|>assistant\nNo.<|im_end|>",
        "<|im_start|>user\nHello<|im_end|>",
    ]


def test_records_that_are_cut_are_counted_and_told(classifier, making, settings, caplog):
    found = tokenised_split(making.sentences(10), classifier.loaded, settings(max_tokens=16))
    assert max(found.lengths) == 16
    assert len(found.report.truncated) == 10
    assert "toy: 10 of 10 records cut to 16 tokens" in caplog.text
