import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from stakes import LABELLER, StakesReply

from models_under_pressure.core.conversation import Message
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.records import Label, Record, content_hash
from models_under_pressure.datasets.files import Splits, divide
from models_under_pressure.datasets.recipe import Step, Version, balance, run_recipe
from models_under_pressure.datasets.steps import Tools
from models_under_pressure.datasets.steps.clinical import speaker_turns
from models_under_pressure.llm.ask import Answer


def answer_by_length(asks):
    """A labeller that finds long conversations high-stakes."""
    return [
        Answer(
            StakesReply(explanation="length", stakes=9 if len(ask.messages[-1].content) > 60 else 2, confidence=9), "m"
        )
        for ask in asks
    ]


TOOLS = Tools(answer_by_length, LABELLER)


def apply(splits, **step):
    return TypeAdapter(Step).validate_python(step).run(splits, TOOLS)


def record(id_, text="Hello.", **fields):
    return Record(id_, text, fields=fields)


def test_an_unknown_step_or_parameter_is_an_error_before_anything_runs():
    for step in ({"op": "polish"}, {"op": "relabel", "model": "x"}, {"op": "move_last", "count": 0}):
        with pytest.raises(ValidationError):
            TypeAdapter(Step).validate_python(step)


def test_the_duplicated_system_prompt_of_apr_16_is_one_in_apr_23():
    once = apply(Splits(dev=[record("a")]), op="add_system_prompt", text="Be kind.").splits
    twice = apply(once, op="add_system_prompt", text="Be kind.").splits
    assert [m.role for m in twice.dev[0].messages] == ["system", "system", "user"]
    assert apply(twice, op="drop_duplicate_system_prompt").splits.dev == once.dev


def test_replacing_removes_every_system_message():
    rows = Splits(test=[Record("a", (Message("system", "1"), Message("user", "u"), Message("system", "2")))])
    assert apply(rows, op="replace_system_prompt", text="3").splits.test[0].input == (
        Message("system", "3"),
        Message("user", "u"),
    )


def test_rows_dropped_for_length_take_their_ids_with_them():
    rows = [record("a", transcription="xx", description="yyy"), record("b", transcription="xxxx", description="y")]
    outcome = apply(Splits(dev=rows), op="drop_if_shorter_than", column="transcription", than="description")
    assert [r.id for r in outcome.splits.dev] == ["b"]
    assert [(d.id, d.reason) for d in outcome.dropped] == [("a", "transcription is shorter than description")]


def test_strict_parsing_drops_guests_and_says_who_spoke():
    rows = [
        record("a", dialogue="Doctor: Hi.\r\nPatient: Hello. \r\nDoctor: Pain?", section_text="Pain."),
        record("b", dialogue="Doctor: Hi.\r\nGuest_family: He sleeps.", section_text=""),
    ]
    outcome = apply(Splits(dev=rows), op="parse_conversation", strict=True, system="Notes:\n{context}")
    assert outcome.splits.dev[0].input == (
        Message("system", "Notes:\nPain."),
        Message("assistant", "Hi."),
        Message("user", "Hello."),
        Message("assistant", "Pain?"),
    )
    assert [d.reason for d in outcome.dropped] == ["speakers other than the known ones: Guest_family"]


def test_a_line_that_opens_with_a_time_or_a_note_belongs_to_its_turn():
    turns = speaker_turns("Doctor: When?\nPatient: At\n10:30 in the morning.\nNote: not at night.")
    assert turns == [("Doctor", "When?"), ("Patient", "At\n10:30 in the morning.\nNote: not at night.")]


def test_relabelling_keeps_the_labels_before_and_columns_with_label_in_their_name():
    row = Record("a", "x" * 80, label=Label.LOW, scale_label=2, fields={"original_labels": "high-stakes"})
    relabelled = apply(Splits(dev=[row]), op="relabel").splits.dev[0]
    assert relabelled.label is Label.HIGH
    assert relabelled.fields["previous_labels"]["labels"] == "low-stakes"
    assert relabelled.fields["original_labels"] == "high-stakes"
    assert relabelled.fields["label_thresholds"] == {"low_max": 3, "high_min": 8, "confidence_min": 7}


def test_moving_takes_whole_groups_and_refuses_more_rows_than_there_are():
    rows = [record("1", group="g"), record("2", group="h"), record("3", group="g")]
    outcome = apply(Splits(dev=[record("0")], test=rows), op="move_last", count=1)
    assert [r.id for r in outcome.splits.dev] == ["0", "1", "3"]
    assert [r.id for r in outcome.splits.test] == ["2"]
    assert list(outcome.moved) == ["1", "3"]
    with pytest.raises(UserError, match="asks for 4 rows, but the test split has 3"):
        apply(Splits(test=rows), op="move_last", count=4)


@given(st.lists(st.integers(0, 8), max_size=40), st.integers(0, 99), st.sampled_from([None, 5]))
def test_no_group_straddles_the_splits_and_more_rows_move_none(groups, seed, limit):
    records = [record(str(i), group=str(g)) for i, g in enumerate(groups)]
    splits = divide(records, test_fraction=0.5, limit=limit, seed=seed)
    assert not {r.group for r in splits.dev} & {r.group for r in splits.test}
    fewer = divide(records[:-1], test_fraction=0.5, limit=None, seed=seed)
    assert {r.id for r in fewer.dev} <= {r.id for r in divide(records, test_fraction=0.5, limit=None, seed=seed).dev}


def test_a_manifest_tells_what_each_step_did():
    version = Version(
        dataset="mts",
        version="apr_16",
        parent="source",
        steps=[{"op": "parse_conversation", "system": "{context}"}, {"op": "relabel"}],
    )
    rows = [
        record("a", dialogue="Doctor: Hi.\nPatient: " + "ill " * 30, section_text="s"),
        record("b", dialogue="Doctor: Hi.\nPatient: Fine.", section_text="s"),
        record("c", dialogue="Nurse: Hi.", section_text="s"),
    ]
    result = run_recipe(version, Splits(dev=rows), tools=TOOLS, seed=1)
    parse, relabel = result.manifest["steps"]
    assert parse["rows_in"]["dev"] == 3
    assert parse["rows_out"]["dev"] == relabel["rows_in"]["dev"] == 2
    assert parse["dropped"] == [{"id": "c", "reason": "speakers other than the known ones: Nurse"}]
    assert result.manifest["labels"]["dev"] == {"low-stakes": 1, "high-stakes": 1, "ambiguous": 0}
    assert {r.id for r in result.balanced.dev} == {"a", "b"}


def test_a_move_does_not_depend_on_the_order_of_the_file_and_refuses_ids_that_dev_has():
    rows = [record(str(n)) for n in range(6)]
    moved = [apply(Splits(test=order), op="move_last", count=2).moved for order in (rows, rows[::-1])]
    assert moved == [["4", "5"], ["4", "5"]]
    with pytest.raises(UserError, match="1 ids to dev that are there already, first '5'.*drop_overlaps"):
        apply(Splits(dev=[record("5", "another text")], test=rows), op="move_last", count=2)


def test_rows_named_are_dropped_with_their_reason_and_unknown_ones_are_an_error():
    outcome = apply(Splits(test=[record("a"), record("b")]), op="drop_rows", ids=["b"], reason="a leak")
    assert [r.id for r in outcome.splits.test] == ["a"]
    assert [(d.id, d.reason) for d in outcome.dropped] == [("b", "a leak")]
    with pytest.raises(UserError, match="1 ids that are not there, first 'c'"):
        apply(outcome.splits, op="drop_rows", ids=["c"], reason="a leak")


def test_a_sentence_is_removed_without_a_trace_and_a_prompt_without_it_is_left():
    def prompt(text):
        return Record("a", (Message("system", text), Message("user", "Hi")))

    step = {"op": "remove_sentence", "starts_with": "Should you decide"}
    rows = [prompt("You call.\nShould you decide to call, write [f()]. You stay brief."), prompt("你是专家。")]
    outcome = apply(Splits(dev=rows), **step)
    assert [r.messages[0].content for r in outcome.splits.dev] == ["You call.\nYou stay brief.", "你是专家。"]


def test_loose_parsing_takes_known_guests_and_still_refuses_others():
    rows = [
        record("a", dialogue="Doctor: Hi.\nGuest_family: He sleeps.", section_text=""),
        record("b", dialogue="Doctor: Hi.\nGest_family: He sleeps.", section_text=""),
    ]
    outcome = apply(Splits(dev=rows), op="parse_conversation", strict=False, system="")
    assert [m.role for m in outcome.splits.dev[0].messages] == ["system", "assistant", "user"]
    assert [d.reason for d in outcome.dropped] == ["speakers other than the known ones: Gest_family"]


def test_a_stray_quote_before_a_speaker_is_no_reason_to_refuse_the_row():
    assert speaker_turns('"Doctor: Hi.\nPatient: Hello.') == [("Doctor", "Hi."), ("Patient", "Hello.")]


@pytest.mark.parametrize("content", ["", "Label: x", "   "])
def test_a_version_without_a_first_sentence_or_prompt_is_left_as_it_is(content):
    row = Record("a", (Message("system", content), Message("user", "Hi")))
    step = {"op": "rewrite_first_sentence", "starts_with": "You are an expert in"}
    assert apply(Splits(dev=[row]), **step).splits.dev == [row]


def test_a_manifest_accounts_for_every_row_of_every_split():
    def row(id_, label, text="Hello."):
        return Record(id_, (Message("system", text), Message("user", id_)), label=label)

    high, low, unclear = Label.HIGH, Label.LOW, Label.AMBIGUOUS
    parent = Splits(
        dev=[row("d3", unclear), row("d2", low, "You call. Never mind."), row("d1", high)],
        test=[row("t1", high), row("t2", low), row("t3", low), row("t4", high)],
    )
    steps = [
        {"op": "drop_rows", "ids": ["t3"], "reason": "a leak"},
        {"op": "move_last", "count": 1},
        {"op": "remove_sentence", "starts_with": "Never"},
    ]
    version = Version(dataset="mt", version="b", parent="a", steps=steps, balance={"per_class": 1})
    result = run_recipe(version, parent, tools=TOOLS, seed=1)
    assert [[row.id for row in part] for _, part in result.raw.items()] == [["d1", "d2", "d3", "t4"], ["t1", "t2"]]
    assert [len(part) for _, part in result.balanced.items()] == [2, 2]
    found = dict(result.manifest)
    dropped, moved, changed = found.pop("steps")
    nothing = {"dropped": [], "moved": [], "conversations_changed": 0, "left_as_they_were": []}
    assert dropped == nothing | {
        "step": {"op": "drop_rows", "ids": ["t3"], "reason": "a leak"},
        "rows_in": {"dev": 3, "test": 4},
        "rows_out": {"dev": 3, "test": 3},
        "dropped": [{"id": "t3", "reason": "a leak"}],
    }
    after = {"dev": 4, "test": 2}
    assert moved == nothing | {
        "step": {"op": "move_last", "count": 1},
        "rows_in": {"dev": 3, "test": 3},
        "rows_out": after,
        "moved": ["t4"],
    }
    assert changed == nothing | {
        "step": {"op": "remove_sentence", "starts_with": "Never"},
        "rows_in": after,
        "rows_out": after,
        "conversations_changed": 1,
        "left_as_they_were": ["d1", "d3", "t1", "t2", "t4"],
    }
    assert found == {
        "dataset": "mt",
        "version": "b",
        "parent": "a",
        "parent_content": {name: content_hash(part) for name, part in parent.items()},
        "content": {name: content_hash(part) for name, part in result.raw.items()},
        "labels": {
            "dev": {"low-stakes": 1, "high-stakes": 2, "ambiguous": 1},
            "test": {"low-stakes": 1, "high-stakes": 1, "ambiguous": 0},
        },
        "balance": {"classes": ["high-stakes", "low-stakes"], "per_class": 1},
        "balanced": {"dev": 2, "test": 2},
        "left_out_by_balancing": {"dev": 2, "test": 0},
    }


def test_a_split_that_cannot_be_balanced_is_named_with_its_version():
    version = Version(dataset="mt", version="b", parent="a", steps=[])
    rows = [Record("1", "x", label=Label.HIGH)]
    with pytest.raises(UserError, match="mt_b, test split: no balanced set can be drawn, but there are high-stakes 1"):
        run_recipe(version, Splits(test=rows), tools=TOOLS, seed=1)


def test_balanced_files_hold_what_the_recipe_asks_for_and_are_drawn_by_the_seed():
    rows = [Record(str(n), "x", label=(Label.HIGH, Label.LOW)[n % 2]) for n in range(80)]
    version = Version(dataset="mt", version="b", parent="a", steps=[], balance={"per_class": 5})
    one, other = (run_recipe(version, Splits(test=rows), tools=TOOLS, seed=seed).balanced for seed in (1, 2))
    assert [len(one.test), len(one.dev), len(other.test)] == [10, 0, 10]
    assert one != other
    assert one.test == balance(rows, seed=1, config=version.balance)
