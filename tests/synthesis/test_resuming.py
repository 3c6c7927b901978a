"""Real replies, ledger and record file, with a chat endpoint in this process."""

import json
import shutil
import threading
from collections import Counter
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from stakes import LABELLER, STAKES
from typer.testing import CliRunner

from models_under_pressure.cli import app
from models_under_pressure.core.concept import load_concept
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.paths import TRAINING
from models_under_pressure.core.records import read_records
from models_under_pressure.datasets.labelling import LabelConfig, labeller
from models_under_pressure.llm.answering import open_store, recorded
from models_under_pressure.llm.config import LLMConfig, Price
from models_under_pressure.llm.options import Rehearsal, describe
from models_under_pressure.stages import synthesise
from models_under_pressure.synthesis.questions import WORDS

ROOT = Path(__file__).parents[2]
KNOBS = {"neutralise": 0.5, "manipulate": 0.5, "annotate": True, "test_fraction": 0.5}


class Endpoint:
    """Invents replies, until its credit is used up."""

    def __init__(self, making):
        self.making, self.credit, self.answered, self.lock = making, float("inf"), Counter(), threading.Lock()

    def reply(self, body):
        names = body["response_format"]["json_schema"]["schema"]["properties"]
        messages = [SimpleNamespace(**message) for message in body["messages"]]
        with self.lock:
            if self.answered.total() >= self.credit:
                return 402, {"error": {"message": "no credit"}}
            self.answered["|".join(sorted(names))] += 1
        message = {"role": "assistant", "content": json.dumps(self.making.invent(messages, names)), "refusal": None}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        usage = {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18}
        head = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "usage": usage}
        return 200, head | {"choices": [choice]}


@pytest.fixture
def endpoint(making):
    return Endpoint(making)


@pytest.fixture
def llm(endpoint):
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            status, reply = endpoint.reply(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            body = json.dumps(reply).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/v1"
    yield LLMConfig(endpoint=url, model="m", mode="record", prices={"m": Price(input=1, output=2)}, concurrency=4)
    server.shutdown()


@pytest.fixture
def workspace(making, tmp_path, monkeypatch):
    """Enter a folder of its own with a ledger of its own."""

    @contextmanager
    def enter(name):
        with monkeypatch.context() as patch:
            shutil.copytree(making.INPUTS, tmp_path / name / "data" / "inputs", dirs_exist_ok=True)
            patch.setenv("MUP_LEDGER", str(tmp_path / f"{name}.sqlite"))
            patch.chdir(tmp_path / name)
            yield tmp_path / name

    return enter


def run(config, llm):
    with recorded("synthesise", llm) as ask:
        synthesise.run(config, STAKES, label=LABELLER, ask=ask, seed=1)


def preview(config, llm):
    with closing(open_store("synthesise")) as store:
        rehearsal = Rehearsal(llm, store, words=WORDS)
        synthesise.rehearse(config, STAKES, label=LABELLER, ask=rehearsal, seed=1)
    return rehearsal.rounds


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_interrupted_and_resumed_run_equals_an_uninterrupted_one_and_pays_nothing_twice(
    making, endpoint, llm, workspace
):
    config = making.config(5, 2, **KNOBS)
    with workspace("whole") as whole:
        run(config, llm)
    paid = Counter(endpoint.answered)
    assert len(paid) == 4  # situations; prompts and their rewrites, of one form; labels; metadata

    endpoint.answered.clear()
    with workspace("broken") as broken:
        stops = [2, 9, 30, 50, paid.total() - 3]  # in each round
        for endpoint.credit in stops:
            with pytest.raises(UserError, match="no credit"):
                run(config, llm)
            assert not (broken / "data/training").exists()
        endpoint.credit = float("inf")
        run(config, llm)
    assert endpoint.answered == paid
    assert contents(broken) == contents(whole)


def test_a_colleague_with_the_record_file_and_no_network_gets_the_same_bytes(making, endpoint, llm, workspace):
    config = making.config(4, 2, **KNOBS)
    with workspace("mine") as mine:
        run(config, llm)
    endpoint.credit = 0
    with workspace("theirs") as theirs:
        shutil.copytree(mine / "data/replies", theirs / "data/replies")
        run(config, llm.model_copy(update={"mode": "replay"}))
    assert contents(theirs) == contents(mine)


def test_a_larger_run_pays_only_for_what_is_new(making, endpoint, llm, workspace):
    with workspace("grows"):
        run(making.config(4, 2, **KNOBS), llm)
        small = endpoint.answered.total()
        run(making.config(6, 2, **KNOBS), llm)
    together = endpoint.answered.total()
    endpoint.answered.clear()
    with workspace("at once"):
        run(making.config(6, 2, **KNOBS), llm)
    assert small < together == endpoint.answered.total()


def test_a_preview_asks_and_writes_nothing_and_foresees_the_run(making, endpoint, llm, workspace):
    config = making.config(4, 2, **KNOBS)
    with workspace("planned") as planned:
        before = contents(planned)
        unknown = preview(config, llm)
        assert contents(planned) == before
        assert endpoint.answered.total() == 0
        run(config, llm)
        paid = endpoint.answered.total()
        known = preview(config, llm)
    assert [len(one.asks) for one in unknown][:3] == [4, 8, 16]
    assert sum(len(one.asks) for one in unknown) == sum(len(one.asks) for one in known) == paid
    assert [one.recorded for one in unknown] == [0] * len(unknown)
    assert all(one.recorded == len(one.asks) for one in known)
    assert [ask.messages for ask in unknown[0].asks] == [ask.messages for ask in known[0].asks]
    assert endpoint.answered.total() == paid


def test_a_preview_of_a_half_paid_run_counts_what_is_recorded(making, endpoint, llm, workspace):
    config = making.config(4, 2, **KNOBS)
    endpoint.credit = 8
    with workspace("half"):
        with pytest.raises(UserError, match="no credit"):
            run(config, llm)
        rounds = preview(config, llm)
    assert [one.recorded for one in rounds[:3]] == [4, 4, 0]


def test_the_description_shows_the_first_questions_and_the_cost_by_the_price_table(making, llm, workspace):
    config = making.config(3, 2, test_fraction=0.5)
    with workspace("shown"):
        rounds = preview(config, llm)
    text = describe("synthesise", rounds, llm, most=2)
    assert text.count("--- ") == 2 * 3
    assert "Person: " in text
    assert "_____" not in text
    cost = sum(1 * one.input_tokens + 2 * one.output_tokens for one in rounds) / 1e6
    whole = f"about ${cost:,.2f}"
    assert f"{whole} without the Batch API; for the missing: ${cost:,.2f}" in text
    assert "21 questions at most, 0 of them with a recorded reply" in text
    halved = describe("synthesise", rounds, llm.model_copy(update={"batch": True}), most=2)
    assert f"about ${cost / 2:,.2f} through the Batch API" in halved
    assert "no entry for m" in describe("synthesise", rounds, llm.model_copy(update={"prices": {}}), most=2)


def test_the_demo_has_a_reply_to_every_question(monkeypatch):
    monkeypatch.chdir(ROOT)
    done = CliRunner().invoke(app, ["synthesise", "--preview", "2"], catch_exceptions=False)
    shown = done.stdout
    assert "synthesise, SituationPair: 46 questions, 46 recorded" in shown
    assert "synthesise, PromptPair: 230 questions, 230 recorded" in shown
    assert "for the missing: $0.00" in shown
    assert shown.count("--- ") == 2 * 3


def test_another_concept_is_written_and_labelled_in_its_own_words_and_replayed(making, endpoint, llm, workspace):
    harassment = load_concept("harassment")
    config, label = making.config(3, 2, neutralise=0.5, test_fraction=0.5), labeller(harassment, LabelConfig())
    with workspace("second") as folder:
        made = []
        for mode in ("record", "replay"):
            with recorded("synthesise", llm.model_copy(update={"mode": mode})) as ask:
                synthesise.run(config, harassment, label=label, ask=ask, seed=1)
            made.append(contents(folder / TRAINING))
        rows = read_records(TRAINING / "train.jsonl", harassment.classes)
        with pytest.raises(UserError, match="unknown label '(harassing|civil)'"):
            read_records(TRAINING / "train.jsonl")
    assert made[0] == made[1]
    assert endpoint.answered["civil|harassing"] == 3
    assert endpoint.answered["confidence|explanation|harassment"]
    assert {(row.label_word, row.fields["harassing"]) for row in rows} == {("harassing", True), ("civil", False)}
    assert not any(b"stakes" in content for content in made[0].values())
