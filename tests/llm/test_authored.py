import pytest
from authored import author_replies

from models_under_pressure.core.errors import UserError
from models_under_pressure.llm.answering import ask_all
from models_under_pressure.llm.ask import Answer


def test_authored_replies_replay_without_key_network_or_ledger(question, config, store, tmp_path):
    asks = [question(i, text="é") for i in range(5)]
    answers = [asks[0].reply(explanation=f"é {i}", stakes=i + 1) for i in range(5)]
    path = tmp_path / "demo.jsonl"
    assert author_replies(asks, answers, config=config(), path=path) == 5
    none = tmp_path / "no_ledger"
    replayed = ask_all(asks, config=config(), store=store(shipped=[path], ledger=none), what="t")
    assert replayed == [Answer(answer, "demo-authors") for answer in answers]
    assert not none.exists()
    assert not store().ledger.path.exists(), "authored replies are not paid ones"


def test_writing_twice_merges_and_the_later_answer_counts(question, config, store, tmp_path):
    asks = [question(i) for i in range(4)]
    path = tmp_path / "demo.jsonl"
    form = asks[0].reply
    author_replies(asks, [form(explanation="a", stakes=1)] * 4, config=config(), path=path)
    before = path.read_bytes()
    author_replies(asks[:2], [form(explanation="a", stakes=1)] * 2, config=config(), path=path)
    assert path.read_bytes() == before
    author_replies(asks[:1], [form(explanation="b", stakes=2)], config=config(), path=path)
    replayed = ask_all(asks, config=config(), store=store(shipped=[path]), what="t")
    assert [outcome.value.explanation for outcome in replayed] == ["b", "a", "a", "a"]


def test_equal_questions_with_different_answers_are_refused_and_change_nothing(question, config, tmp_path):
    form = question(1).reply
    path = tmp_path / "demo.jsonl"
    with pytest.raises(UserError, match=r"demo.jsonl, 1: .*different sample numbers"):
        author_replies([question(1)] * 2, [form(explanation="a", stakes=n) for n in (1, 2)], config=config(), path=path)
    assert not path.exists()
    with pytest.raises(ValueError, match="1 questions, but 0 answers"):
        author_replies([question(1)], [], config=config(), path=path)
