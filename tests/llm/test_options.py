"""A rehearsal asks nobody: it says how many replies are missing and what they cost, before anything is paid."""

from contextlib import closing
from typing import Literal

import pytest

from models_under_pressure.core.conversation import Message
from models_under_pressure.llm.ask import Answer, Ask, Form
from models_under_pressure.llm.config import LLMConfig, Price, input_tokens
from models_under_pressure.llm.options import Rehearsal, Round, describe, dry_run, with_options
from models_under_pressure.llm.store import ReplyStore, request_key

PRICES = {"gpt-4o": Price(input=2.5, output=10)}


class Named(Form):
    title: str
    rating: int
    kind: Literal["calm", "urgent"]


def named(row):
    return Ask(row, (Message("system", " Name it.\n"), Message("user", f"row {row}")), Named)


@pytest.fixture
def settings():
    return LLMConfig(model="gpt-4o", prices=PRICES, max_tokens=100)


@pytest.fixture
def rehearsal(settings, tmp_path):
    """A rehearsal with recorded replies to some questions."""
    stores = []

    def rehearsal(*recorded, **options):
        store = ReplyStore(record_file=tmp_path / "stage.jsonl", ledger=tmp_path / "ledger")
        stores.append(store)
        for ask in recorded:
            said = Named(title=f"the title of {ask.record_id}", rating=7, kind="urgent").model_dump_json()
            choice = {"finish_reason": "stop", "message": {"content": said, "refusal": None}}
            store.put(ask.body(settings), {"model": "m", "choices": [choice]}, sample=0)
        return Rehearsal(settings, store, **options)

    yield rehearsal
    for store in stores:
        store.close()


def test_questions_with_recorded_replies_are_answered_with_them(rehearsal, settings):
    asks = [named("a"), named("b")]
    one = rehearsal(*asks)
    answers = one(asks)
    assert answers == [Answer(Named(title=f"the title of {row}", rating=7, kind="urgent"), "m") for row in ("a", "b")]
    assert one.is_certain
    text = answers[0].value.model_dump_json()
    assert one.rounds == [
        Round(
            asks=asks,
            recorded=2,
            input_tokens=sum(input_tokens(ask.body(settings)) for ask in asks),
            output_tokens=2 * input_tokens({"messages": [{"content": text}]}),
        )
    ]


def test_from_the_first_unknown_reply_on_fillers_of_usual_length_stand_in(rehearsal):
    one = rehearsal(named("a"))
    (known,) = one([named("a")])
    assert one.is_certain
    answers = one([named("a"), named("b")])
    (later,) = one([named("a")])
    assert not one.is_certain
    assert [round.recorded for round in one.rounds] == [1, 1, 1]
    assert [answer.model for answer in (known, *answers, later)] == ["m", "gpt-4o", "gpt-4o", "gpt-4o"]
    assert answers[1].value == Named.model_construct(
        title=f"(title of b, round 2){' _____' * 40}", rating=1, kind="calm"
    )
    assert len({answer.value.title for answer in (known, *answers, later)}) == 4
    assert later.value.title.startswith("(title of a, round 3)")


def test_the_usual_length_of_a_form_may_be_told(rehearsal):
    (answer,) = rehearsal(words={"Named": 3, "Other": 5})([named("a")])
    assert answer.value.title == "(title of a, round 1) _____ _____ _____"
    (other,) = rehearsal(words={"Other": 5})([named("a")])
    assert other.value.title.count("_____") == 40


def test_a_rehearsal_is_told_with_its_rounds_its_questions_and_its_cost(settings):
    rounds = [
        Round([named(row) for row in ("a", "b", "c", "d")], recorded=1, input_tokens=400_000, output_tokens=1_200),
        Round([], recorded=0, input_tokens=0, output_tokens=0),
    ]
    whole = (400_000 * 2.5 + 1_200 * 10) / 1e6
    assert describe("stage", rounds, settings) == (
        "stage, Named: 4 questions, 1 recorded; about 400,000 tokens in, 1,200 out\n"
        "stage, 0 questions, 0 recorded; about 0 tokens in, 0 out\n"
        "4 questions at most, 1 of them with a recorded reply.\n"
        f"Asking gpt-4o for all: about ${whole:.2f} without the Batch API; for the missing: ${whole * 3 / 4:.2f}.\n"
        "Tokens are estimated from the length of the texts, rather high; asking again is not foreseen.\n"
    )
    assert "for all: about $2.50 without the Batch API; for the missing: $0.00." in describe(
        "stage", [Round([named("a")], recorded=1, input_tokens=1_000_000, output_tokens=0)], settings
    )
    batch = settings.model_copy(update={"batch": True, "batch_discount": 0.25})
    assert f"about ${whole * 3 / 4:.2f} through the Batch API; for the missing: ${whole * 9 / 16:.2f}." in describe(
        "stage", rounds, batch
    )
    unpriced = settings.model_copy(update={"prices": {}})
    assert describe("stage", rounds, unpriced).endswith(
        "with a recorded reply.\nCost unknown: llm.prices has no entry for gpt-4o.\n"
    )


def test_the_first_questions_are_shown_without_their_fillers(settings):
    def asking(row):
        return Ask(
            row,
            (Message("system", " Name it.\n"), Message("user", "x"), Message("user", f"{row} _____ _____ end _____")),
            Named,
        )

    told = describe("stage", [Round([asking(row) for row in "abc"], 0, 1_000, 2_000)], settings, most=2)
    assert told.startswith(
        "stage, Named: 3 questions, 0 recorded; about 1,000 tokens in, 2,000 out\n"
        "[system] Name it.\n"
        "--- a\na … end …\n"
        "--- b\nb … end …\n"
        "3 questions at most"
    )


@pytest.mark.parametrize(
    ("given", "changes"),
    [
        ({"allow_missing": None, "refresh": None}, {}),
        ({"allow_missing": 0, "refresh": None}, {"allow_missing": 0}),
        ({"allow_missing": 3, "refresh": "a*"}, {"allow_missing": 3, "mode": "refresh", "refresh_ids": "a*"}),
        ({"allow_missing": None, "refresh": ""}, {"mode": "refresh", "refresh_ids": ""}),
    ],
)
def test_what_the_command_line_says_goes_before_the_settings(given, changes, settings):
    before = settings.model_copy(update={"allow_missing": 5})
    assert with_options(before, **given) == before.model_copy(update=changes)


def test_a_dry_run_prints_what_would_be_asked_and_writes_nothing(settings, tmp_path, capsys):
    seen = []

    def work(asker):
        seen.extend(asker([named("a"), named("b")]))

    dry_run("stage", settings, work, most=1, words={"Named": 2}, folder=tmp_path)
    assert seen[0].value.title == "(title of a, round 1) _____ _____"
    told = capsys.readouterr().out
    assert told.startswith("stage, Named: 2 questions, 0 recorded; about ")
    assert "\n--- a\nrow a\n2 questions at most" in told
    assert told.endswith("asking again is not foreseen.\n")
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_takes_the_record_file_of_its_folder(rehearsal, settings, tmp_path, capsys):
    with closing(ReplyStore(record_file=tmp_path / "stage.jsonl", ledger=tmp_path / "ledger")) as store:
        rehearsal(named("a"))([named("a")])
        store.get(request_key(named("a").body(settings), sample=0))
        store.write_record_file()
    dry_run("stage", settings, lambda asker: asker([named("a")]), folder=tmp_path)
    told = capsys.readouterr().out
    assert "1 questions at most, 1 of them with a recorded reply" in told
    assert "---" not in told
