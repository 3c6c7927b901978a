from dataclasses import replace

import pytest
from stakes import STAKES

from models_under_pressure.core.conversation import Message
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.records import Label
from models_under_pressure.datasets.deployment import keep_whole_pairs, read_prompts


def prompts(tmp_path, *rows, context="medical"):
    path = tmp_path / f"{context}.csv"
    path.write_text("pair_id,stake_level,prompt_text\n" + "".join(f"{row}\n" for row in rows))
    return read_prompts(path, context, STAKES.deployment["medical"], STAKES.classes)


def test_ids_and_pairs_of_different_contexts_do_not_clash(tmp_path):
    rows = ("1,High,May I take both?", "1,LOW,Which colour is it?")
    every = prompts(tmp_path, *rows) + prompts(tmp_path, *rows, context="software")
    assert len({record.id for record in every}) == 4
    assert {record.group for record in every} == {"medical_1", "software_1"}
    assert [m.role for m in every[0].input] == ["system", "user"]
    assert every[1].input[1] == Message("user", "Which colour is it?")


def test_only_whole_pairs_with_the_labels_meant_are_kept(tmp_path):
    rows = [f"{pair},{level},text {pair} {level}" for pair in range(1, 5) for level in ("high", "low")]
    records = prompts(tmp_path, *rows, "9,high,alone")
    labels = {"hs": Label.HIGH, "ls": Label.LOW}
    judged = [replace(record, label=labels[record.id.split("_")[1]]) for record in records]
    changed = {"medical_hs_2": Label.LOW, "medical_ls_2": Label.HIGH, "medical_ls_3": Label.AMBIGUOUS}
    judged = [replace(record, label=changed.get(record.id, record.label)) for record in judged]
    pairs = keep_whole_pairs(judged)
    assert [record.id for record in pairs.records] == ["medical_hs_1", "medical_hs_4", "medical_ls_1", "medical_ls_4"]
    reasons = {row.id: row.reason for row in pairs.dropped}
    assert "medical_hs_2 is low-stakes, medical_ls_2 is high-stakes" in reasons["medical_hs_2"]
    assert "medical_ls_3 is ambiguous" in reasons["medical_hs_3"]
    assert "not one high and one low row" in reasons["medical_hs_9"]


@pytest.mark.parametrize(
    ("row", "problem"),
    [("1,middle,x", "unknown stake level 'middle'"), ("1,low,", "prompt is empty"), ("1,high,again", "two rows")],
)
def test_a_bad_row_is_an_error_with_its_place(tmp_path, row, problem):
    with pytest.raises(UserError, match=f"row 2: .*{problem}"):
        prompts(tmp_path, "1,high,first", row)
