from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.records import Label, Record, write_records
from models_under_pressure.synthesis.confounders import measure, report, to_table
from models_under_pressure.tools.datasets import app


def prompts(lengths, *, tone=lambda number, high: "angry", extra=""):
    """Pairs of prompts of the given (high, low) lengths, two pairs to a situation."""
    rows = []
    for number, pair in enumerate(lengths):
        for high, length in zip((True, False), pair, strict=True):
            fields = {"pair_id": f"p{number}", "situation_id": f"s{number // 2}", "tone": tone(number, high)}
            text = f"{extra if high else ''}word{number} ".ljust(length, "x")
            rows.append(Record(f"{number:03}{high}", text, Label.HIGH if high else Label.LOW, fields=fields))
    return rows


PAIRS = st.lists(st.tuples(st.integers(20, 60), st.integers(20, 60)), min_size=4, max_size=12)


@settings(deadline=None, max_examples=20)
@given(PAIRS)
def test_length_is_measured_over_all_prompts_and_within_pairs(lengths):
    records = prompts(lengths)
    found = measure(records, seed=0)["predictors"]["text_length"]
    labels = [record.is_high for record in records]
    sizes = [len(record.text) for record in records]
    assert found["auroc"] == pytest.approx(roc_auc_score(labels, sizes), abs=1e-4)
    share = np.mean([(high > low) + (high == low) / 2 for high, low in lengths])
    assert found["within_pairs"] == pytest.approx(share, abs=1e-4)
    for figure in ("auroc", "within_pairs"):
        assert found[f"{figure}_low"] <= found[figure] <= found[f"{figure}_high"]


def test_words_that_tell_in_every_situation_are_found():
    lengths = [(40, 40)] * 20
    told = measure(prompts(lengths, extra="grave "), seed=0)["predictors"]["tf_idf"]
    untold = measure(prompts(lengths), seed=0)["predictors"]["tf_idf"]
    assert told["auroc"] == told["within_pairs"] == 1
    assert told["auroc_low"] < 1  # ten situations, all right, do not prove that all are
    assert untold["within_pairs"] == 0.5


def test_a_variation_that_the_prompts_of_a_pair_share_is_at_chance_by_construction():
    records = prompts([(30, 30)] * 8, tone=lambda number, high: "angry" if number % 3 else "polite")
    for found in measure(records, seed=0)["attributes"]["tone"].values():
        assert (found["auroc"], found["auroc_low"], found["auroc_high"]) == (0.5, 0.5, 0.5)


def test_a_variation_that_goes_with_the_stakes_is_found():
    records = prompts([(30, 30)] * 20, tone=lambda number, high: "angry" if high or number % 2 else "polite")
    records = records[3:]  # a prompt without its partner is counted too
    tones = measure(records, seed=0)["attributes"]["tone"]
    labels = np.array([record.is_high for record in records])
    angry = np.array([record.fields["tone"] == "angry" for record in records])
    found = tones["angry"]
    assert found["n"] == angry.sum()
    assert found["auroc"] == pytest.approx(roc_auc_score(labels, angry), abs=1e-4)
    assert tones["polite"]["auroc"] == pytest.approx(1 - found["auroc"], abs=1e-4)
    assert 0.5 < found["auroc_low"] <= found["auroc"] <= found["auroc_high"]


def test_the_order_of_the_rows_changes_nothing():
    records = prompts([(30, 40), (50, 20), (30, 30), (22, 31)] * 3)
    assert measure(records[::-1], seed=3) == measure(records, seed=3)


def test_prompts_of_one_situation_are_one_piece_of_evidence():
    draw = np.random.default_rng(0)
    records = [
        replace(record, id=f"{record.id}-{copy}", fields={**record.fields, "pair_id": f"{number}-{copy}"})
        for number, pair in enumerate(draw.integers(20, 90, (30, 2)))
        for record in prompts([tuple(pair)])
        for copy in range(8)
        for record in [replace(record, id=f"{number}{record.id}")]
        for record in [replace(record, fields={**record.fields, "situation_id": f"s{number}"})]
    ]
    whole = measure(records, seed=0)["predictors"]["text_length"]
    apart = measure(records, seed=0, group=lambda record: str(record.fields["pair_id"]))["predictors"]["text_length"]
    for figure in ("auroc", "within_pairs"):
        assert whole[figure] == apart[figure]
        width, narrow = (found[f"{figure}_high"] - found[f"{figure}_low"] for found in (whole, apart))
        assert width > 2 * narrow


def test_one_situation_gives_no_figure_of_words():
    found = measure(prompts([(30, 40), (50, 20)]), seed=0)
    assert set(found["predictors"]) == {"text_length"}
    assert found["predictors"]["text_length"]["auroc_high"] == 1


def test_an_ambiguous_prompt_is_an_error():
    records = prompts([(30, 40)] * 4)
    with pytest.raises(ValueError, match="000True is ambiguous"):
        measure([replace(records[0], label=Label.AMBIGUOUS), *records[1:]], seed=0)


def test_the_report_names_the_value_that_tells_most_and_the_table_what_is_even():
    before = prompts([(30, 40)] * 8, tone=lambda number, high: "casual" if high and number == 0 else "angry")
    found = report(before, before[2:], seed=0)
    assert abs(found["summary"]["before"]["tone"]["auroc"] - 0.5) == pytest.approx(1 / 16, abs=1e-4)
    assert found["summary"]["after"]["size"] == {"rows": 14, "pairs": 7, "groups": 4}
    table = to_table(found["summary"])
    assert "| predictor | before: AUROC | before: within pairs | after: AUROC | after: within pairs |" in table
    assert "| text_length | 0.000 [" in table
    assert "| tone | 0.438 [" in table
    assert "exactly 0.5" not in table
    assert "exactly 0.5, for the prompts of a pair share them: tone" in to_table({"after": found["summary"]["after"]})


def run(*arguments):
    return CliRunner().invoke(app, ["confounders", *map(str, arguments)])


def test_the_command_measures_files_by_the_columns_named(tmp_path):
    records = prompts([(30, 40), (50, 20), (30, 30), (22, 31)] * 3)
    write_records(tmp_path / "own.jsonl", records)
    other = [
        replace(record, fields={"topic": record.fields["situation_id"], "time": record.fields["pair_id"]})
        for record in records
    ]
    write_records(tmp_path / "other.jsonl", other)
    own = run(tmp_path / "own.jsonl").stdout
    assert "file: 24 prompts, 12 pairs, 6 situations" in own
    named = run(tmp_path / "other.jsonl", "--pair", "topic", "--pair", "time", "--group", "topic").stdout
    assert own.splitlines()[2:4] == named.splitlines()[2:4]
    assert "file: 24 prompts, 0 pairs, 24 situations" in run(tmp_path / "other.jsonl").stdout
    both = run(tmp_path / "own.jsonl", tmp_path / "other.jsonl").stdout
    assert "| predictor | own.jsonl: AUROC | own.jsonl: within pairs | other.jsonl: AUROC |" in both


def test_the_command_refuses_ambiguous_rows(tmp_path):
    records = prompts([(30, 40)] * 4)
    write_records(tmp_path / "rows.jsonl", [replace(records[0], label=Label.AMBIGUOUS), *records[1:]])
    result = run(tmp_path / "rows.jsonl")
    assert isinstance(result.exception, UserError)
    assert "rows.jsonl: record 000True is ambiguous" in str(result.exception)
