"""Which version loses which rows when sets overlap, on a lineage of two sources."""

from pathlib import Path

import pytest

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.records import Record
from models_under_pressure.core.section import load_plain
from models_under_pressure.datasets.lineage import clean_overlaps, load_lineage
from models_under_pressure.datasets.overlap import CheckOverlap, Part

LINEAGE = """
sources:
  a: {test_fraction: 0.5}
  b: {test_fraction: 0.5}
versions:
  a_one: {parent: a_source, steps: []}
  a_two: {parent: a_one, steps: [], balance: {classes: [low-stakes, high-stakes], per_class: 3}}
  b_one: {parent: b_source, steps: []}
datasets:
  train: {train: data/own/train.jsonl}
  validation: {validation: data/own/validation.jsonl}
  dev: {a_dev: a_two, b_dev: b_one, mine: data/own/mine.jsonl}
  test: {a_test: a_two, b_test: b_one}
"""
PURPOSE = {"train": "train", "validation": "validation", "mine": "dev"}
CONFIG = CheckOverlap(jaccard=0.8, shingle_words=3, containment_words=4, allowed={})
WITHIN = {"op": "drop_overlaps", "split": "test", "jaccard": 0.8, "shingle_words": 3, "containment_words": 4}
FILES = Path("data/versions.yaml"), Path("params.yaml")


@pytest.fixture(autouse=True)
def _project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    FILES[0].parent.mkdir()
    FILES[0].write_text(LINEAGE)
    FILES[1].write_text("check_overlap: {allowed: {b_one: 7}}\n")


def clean(allowed=None, **compared):
    """Clean what is compared: name of a comparison -> part -> texts of its rows, by id."""
    parts = {
        name: [
            Part(part, PURPOSE.get(part, part.split("_")[-1]), [Record(id_, text) for id_, text in rows.items()], part)
            for part, rows in sets.items()
        ]
        for name, sets in compared.items()
    }
    return clean_overlaps(parts, load_lineage(), CONFIG, allowed=allowed or {})


def steps(key):
    return load_plain(FILES[0])["versions"][key]["steps"]


def test_a_version_whose_splits_overlap_gets_a_child_that_drops_them_and_is_used_in_its_place():
    told = clean(a_two={"dev": {"1": "same"}, "test": {"2": "same", "3": "SAME"}})
    assert told == [
        "a_two_clean added to data/versions.yaml: 2 pairs between its splits, 0 rows that other datasets in use have",
        "a_two stays as it is: its 2 pairs are accepted in params.yaml, check_overlap.allowed",
        "run `dvc repro` to make the new versions",
    ]
    content = load_plain(FILES[0])
    balance = {"classes": ["low-stakes", "high-stakes"], "per_class": 3}
    assert content["versions"]["a_two_clean"] == {"parent": "a_two", "steps": [WITHIN], "balance": balance}
    assert content["datasets"]["dev"] == {"a_dev": "a_two_clean", "b_dev": "b_one", "mine": "data/own/mine.jsonl"}
    assert content["datasets"]["test"] == {"a_test": "a_two_clean", "b_test": "b_one"}
    assert load_plain(FILES[1]) == {"check_overlap": {"allowed": {"b_one": 7, "a_two": 2}}}


def test_a_version_that_only_others_are_made_from_is_accepted_and_gets_no_child():
    told = clean(a_one={"dev": {"1": "same"}, "test": {"2": "same"}})
    assert told == [
        "a_one stays as it is: its 1 pairs are accepted in params.yaml, check_overlap.allowed",
        "run `dvc repro` to make the new versions",
    ]
    assert "a_one_clean" not in load_lineage().versions
    assert load_plain(FILES[1]) == {"check_overlap": {"allowed": {"b_one": 7, "a_one": 1}}}


def test_what_is_allowed_by_number_is_left():
    sets = {"dev": {"1": "same"}, "test": {"2": "same"}}
    nothing = ["nothing to clean: no overlap beyond what params.yaml allows"]
    assert clean(a_two=sets, allowed={"a_two": 1}) == nothing
    assert clean(in_use={"train": {"1": "x"}, "mine": {"2": "x"}}, allowed={"in_use": 1}) == nothing
    assert clean(a_two={"dev": {"1": "same"}, "test": {"2": "another"}}) == nothing
    assert FILES[0].read_text() == LINEAGE


def test_each_row_goes_from_the_set_that_is_measured_and_says_which_row_it_repeats():
    training, mine = {"t1": "one", "t2": "two"}, {"m": "three"}
    told = clean(in_use={"train": training, "mine": mine, "a_test": {"9": "two", "8": "one", "7": "three", "6": "new"}})
    assert told[0] == (
        "a_two_clean added to data/versions.yaml: 0 pairs between its splits, 3 rows that other datasets in use have"
    )
    assert steps("a_two_clean") == [
        {"op": "drop_rows", "ids": ["7"], "reason": "overlaps (text) with mine m"},
        {"op": "drop_rows", "ids": ["8"], "reason": "overlaps (text) with train t1"},
        {"op": "drop_rows", "ids": ["9"], "reason": "overlaps (text) with train t2"},
    ]
    assert load_plain(FILES[1]) == {"check_overlap": {"allowed": {"b_one": 7}}}, (
        "no pair of a dataset in use is accepted"
    )


def test_rows_that_repeat_one_row_are_one_step_by_id_and_a_row_goes_once():
    first, second = "may I take both pills", "before the operation tomorrow morning"
    clean(
        in_use={
            "train": {"t": first},
            "mine": {"m": second},
            "b_test": {"z": first, "k": first, "a": first + " " + second},
        }
    )
    assert steps("b_one_clean") == [
        {"op": "drop_rows", "ids": ["a"], "reason": "overlaps (contains) with mine m"},
        {"op": "drop_rows", "ids": ["k", "z"], "reason": "overlaps (text) with train t"},
    ]
    assert "balance" not in load_plain(FILES[0])["versions"]["b_one_clean"]


@pytest.mark.parametrize(
    ("left", "right", "loser"),
    [
        ("a_dev", "b_test", "b_one"),
        ("b_dev", "a_test", "a_two"),
        ("train", "b_dev", "b_one"),
        ("a_test", "mine", "a_two"),
    ],
)
def test_a_test_set_loses_rows_before_a_development_set_and_both_before_a_file(left, right, loser):
    clean(in_use={left: {"1": "same"}, right: {"2": "same"}})
    assert [key for key in load_plain(FILES[0])["versions"] if key.endswith("_clean")] == [f"{loser}_clean"]


def test_what_two_splits_of_one_version_share_is_left_to_the_comparison_of_that_version():
    sets = {"a_dev": {"1": "same"}, "a_test": {"2": "same"}}
    assert clean(in_use=sets) == ["nothing to clean: no overlap beyond what params.yaml allows"]
    clean(in_use=sets | {"b_test": {"3": "same"}})
    assert "a_two_clean" not in load_lineage().versions
    assert steps("b_one_clean") == [{"op": "drop_rows", "ids": ["3"], "reason": "overlaps (text) with a_dev 1"}]


def test_rows_within_a_version_and_across_sets_go_in_one_child():
    within = {"dev": {"1": "same"}, "test": {"2": "same"}}
    told = clean(a_two=within, in_use={"train": {"t": "other"}, "a_test": {"3": "other"}})
    assert told[0].startswith("a_two_clean added to data/versions.yaml: 1 pairs between its splits, 1 rows that")
    assert steps("a_two_clean") == [
        WITHIN,
        {"op": "drop_rows", "ids": ["3"], "reason": "overlaps (text) with train t"},
    ]


@pytest.mark.parametrize("accepted", [0, 1])
def test_files_that_overlap_are_named_with_the_number_accepted_and_the_way_out(accepted):
    sets = {"train": {"t": "same", "u": "other"}, "validation": {"v": "same", "w": "other"}}
    if not accepted:
        sets["train"].pop("u")
    with pytest.raises(UserError) as caught:
        clean(in_use=sets, allowed={"in_use": 1} if accepted else {"a_one": 9})
    assert str(caught.value) == (
        f"check_overlap --clean: {accepted + 1} pairs are of sets that are no version of data/versions.yaml "
        f"({accepted} accepted), first text: train t ~ validation v. Remedy: make one of the sets anew, or accept the "
        "pairs in params.yaml: check_overlap.allowed.in_use."
    )
    assert FILES[0].read_text() == LINEAGE


def test_a_child_that_is_there_already_is_refused_before_a_file_is_changed():
    FILES[0].write_text(LINEAGE.replace("  b_one: {", "  b_one_clean: {parent: b_one, steps: []}\n  b_one: {"))
    before = FILES[0].read_text()
    with pytest.raises(UserError, match="b_one_clean exists already, and there is overlap nevertheless") as caught:
        clean(in_use={"train": {"1": "same"}, "b_test": {"2": "same"}, "a_test": {"3": "same"}})
    assert (caught.value.where, caught.value.remedy) == (
        "data/versions.yaml",
        "run `dvc repro`; if the overlap is still there, review the steps of that version.",
    )
    assert FILES[0].read_text() == before
