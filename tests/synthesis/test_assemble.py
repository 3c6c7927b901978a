import json
import os
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stakes import PromptPair, RewrittenPair

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.records import Label
from models_under_pressure.llm.ask import Answer, Failure
from models_under_pressure.synthesis.assemble import assemble
from models_under_pressure.synthesis.selection import WordFilter

EVERYTHING = {"neutralise": 0.4, "manipulate": 0.3, "annotate": True}


def make(making, situations=12, *, ask=None, label=None, seed=1, **knobs):
    return assemble(
        making.config(situations, **knobs),
        making.VOCABULARY,
        making.WRITER,
        ask=ask or making.inventive,
        label=label or making.as_meant,
        seed=seed,
    )


def test_the_same_seed_gives_the_same_bytes_in_processes_with_different_hash_seeds(making, tmp_path):
    folders = [tmp_path / name for name in ("here", "there")]
    for folder in folders:
        folder.mkdir()
    making.main(folders[0], 4)
    hash_seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    command = [sys.executable, making.__file__, folders[1], "4"]
    subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": hash_seed}, check=True, capture_output=True)
    made = [{path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders]
    assert made[0] == made[1]
    assert set(made[0]) == {"rows.jsonl", "report.json", "confounders.json"}
    assert b'"variant": "manipulated"' in made[0]["rows.jsonl"]


@settings(deadline=None, max_examples=8)
@given(st.integers(0, 2**32), st.sampled_from([0.5, 0.8, 1.0]))
def test_no_pair_and_no_copy_of_it_straddles_the_splits_for_any_seed(making, seed, keep):
    made = make(making, 30, seed=seed, word_filter=WordFilter(keep=keep), **EVERYTHING)
    for key in ("pair_id", "situation_id", "group"):
        places = {}
        for row in made.records:
            name = row.group if key == "group" else row.fields[key]
            places.setdefault(name, set()).add(row.fields["split"])
        assert all(len(splits) == 1 for splits in places.values())
    assert Counter(Counter(row.fields["pair_id"] for row in made.records).values()).keys() == {2}
    assert sum(row.is_high for row in made.records) * 2 == len(made.records)


def test_a_larger_run_has_the_rows_of_a_smaller_one(making):
    few = {row.id: row for row in make(making, 12, **EVERYTHING).records}
    many = {row.id: row for row in make(making, 20, **EVERYTHING).records}
    assert few.items() <= many.items()


def troubled(making):
    """A model that refuses a pair, repeats a text, leaves a question open, and does not rewrite one pair."""

    def ask(asks):
        answers = making.inventive(asks)
        if asks[0].reply is PromptPair:
            answers[0] = Answer(PromptPair(prompt_1="refuse", prompt_2="refuse"), "m")
            answers[1] = Failure(asks[1].record_id, "timeout", "no reply")
            answers[3] = answers[2]
        if asks[0].reply is RewrittenPair:
            answers[0] = Answer(RewrittenPair(prompt_1="", prompt_2="x"), "m")
        return answers

    def label(records):
        rows, _ = making.as_meant(records)
        rows[0] = type(rows[0])(rows[0].id, rows[0].input, Label.AMBIGUOUS, fields=rows[0].fields)
        return rows[:-1], [Failure(rows[-1].id, "refusal", "no")]

    return {"ask": ask, "label": label}


def test_every_pair_that_is_left_out_stands_in_the_report(making):
    made = make(
        making, 20, **troubled(making), word_filter=WordFilter(keep=0.8), rows=40, test_fraction=0.3, neutralise=0.5
    )
    report = made.report
    assert report["prompts_written"] == 2 * (60 - 2)
    assert {variant: len(pairs) for variant, pairs in report["pairs_refused"].items()} == {
        "original": 1,
        "neutralised": 1,
    }
    kinds = [failure["kind"] for failure in report["questions_without_answer"]]
    assert sorted(kinds) == ["refusal", "refusal", "timeout"]
    reasons = Counter(one["reason"].split(" ")[-1] for one in report["pairs_dropped"])
    assert reasons == {"text": 1, "ambiguous": 2, "answer": 2}
    written = report["prompts_written"] // 2 - 1 - 1 - 1
    assert len([row for row in made.unfiltered if row.fields["variant"] == "original"]) == 2 * written
    assert len(made.unfiltered) == len(made.records) + 2 * len(report["pairs_filtered"]) + report["rows_not_drawn"]
    assert report["rows"] == {"train": 28, "test": 12}
    assert sum(report["rows_with"]["language"].values()) == 40


def test_copies_are_made_of_pairs_that_are_kept_and_are_labelled_anew(making):
    def label(records):
        rows, failures = making.as_meant(records)
        copies = [row for row in rows if row.fields["variant"] != "original"]
        assert len(copies) in (0, len(rows))
        return (rows[2:] if copies else rows), failures  # the first copied pair gets no label

    made = make(making, 12, neutralise=1, label=label)
    assert Counter(row.fields["variant"] for row in made.records) == {"original": 72, "neutralised": 70}


def test_what_cannot_be_reached_is_an_error_before_anything_is_asked(making):
    def ask(asks):
        raise AssertionError("asked")

    with pytest.raises(UserError, match="the test split has no rows.*raise `situations`"):
        make(making, 3, test_fraction=0, ask=ask)
    with pytest.raises(UserError, match=r"80 train rows asked for, but \d+ situations give \d\d\."):
        make(making, 12, rows=100, test_fraction=0.2, ask=ask)


def test_a_split_of_which_every_pair_is_dropped_is_an_error(making):
    def label(records):
        return [row for row in making.as_meant(records)[0] if row.fields["split"] == "train"], []

    with pytest.raises(UserError, match="the test split has no rows: none of its pairs is left"):
        make(making, label=label)


def test_a_filter_with_one_situation_to_learn_from_is_an_error(making):
    def label(records):
        train = next(row.fields["situation_id"] for row in records if row.fields["split"] == "train")
        rows = making.as_meant(records)[0]
        return [row for row in rows if row.fields["split"] == "test" or row.fields["situation_id"] == train], []

    with pytest.raises(UserError, match=r"learns from others.*word_filter.keep to 1"):
        make(making, label=label, word_filter=WordFilter(keep=0.5))


def test_one_number_scales_a_run_to_the_papers_shares_of_four_to_one(making):
    made = make(making, 230, pairs=5, test_fraction=0.2, rows=2000, word_filter=WordFilter(keep=0.95, folds=5))
    assert made.report["rows"] == {"train": 1600, "test": 400}
    with pytest.raises(UserError, match=r"1,600 train rows asked for, but only 1,5\d\d are left"):
        make(making, 220, pairs=5, test_fraction=0.2, rows=2000, word_filter=WordFilter(keep=0.95))


def test_reports_are_json(making):
    assert json.loads(json.dumps(make(making, **EVERYTHING).report))["rows"]["train"] > 0
