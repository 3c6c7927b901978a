"""The options of the stages that ask, as a user meets them: `mup label_deployment` in a small project."""

import csv
import json
from pathlib import Path

import pytest
from fault_server import REFUSAL, Act, FaultServer, answer, completion, error
from ruamel.yaml import YAML
from typer.testing import CliRunner

from models_under_pressure.cli import app
from models_under_pressure.core.errors import UserError

ROOT = Path(__file__).parents[2]
CONTEXTS = ("medical", "software", "chatbot")
RECORD_FILE = Path("data/replies/label_deployment.jsonl")
PAIRS = 3
ROWS = len(CONTEXTS) * PAIRS * 2


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with three pairs of prompts in each context, asking the given server."""
    monkeypatch.chdir(tmp_path)
    folder = Path("data/raw/deployment")
    folder.mkdir(parents=True)
    for context in CONTEXTS:
        with (folder / f"{context}_deployment.csv").open("w", newline="") as stream:
            rows = csv.writer(stream)
            rows.writerow(["pair_id", "stake_level", "prompt_text"])
            for pair in range(PAIRS):
                rows.writerows([pair, level, f"row {context}-{level}-{pair} says"] for level in ("high", "low"))

    def project(server, mode="record", **llm):
        yaml = YAML()
        params = yaml.load(ROOT / "params.yaml")
        params["llm"].update({"endpoint": server.url, "mode": mode} | llm)
        yaml.dump(params, Path("params.yaml"))

    return project


def labels(row, attempt):
    stakes = 9 if "high" in row else 2
    return answer(explanation=f"{row}, time {attempt}", stakes=stakes, confidence=9)


def refusing(row, attempt):
    return REFUSAL if row == "medical-low-1" else labels(row, attempt)


def run(*options):
    """Output of the command; its error, if it has one, is raised."""
    result = CliRunner().invoke(app, ["label_deployment", *options])
    if result.exception is not None:
        raise result.exception
    return result.output


def explanations():
    lines = RECORD_FILE.read_text().splitlines()
    return sorted(json.loads(json.loads(line)["content"])["explanation"] for line in lines)


def test_a_dry_run_counts_and_prices_and_neither_asks_nor_writes(project):
    with FaultServer(labels) as server:
        project(server)
        before = sorted(Path().rglob("*"))
        said = run("--dry-run")
        assert not server.seen
        assert sorted(Path().rglob("*")) == before
        assert f"{ROWS} questions, 0 recorded" in said
        assert "for the missing: $0.0" in said
        run()
        assert len(server.seen) == ROWS
        assert f"{ROWS} questions, {ROWS} recorded" in run("--dry-run")
        assert f"{ROWS} questions, {ROWS - PAIRS} recorded" in run("--dry-run", "--refresh", "medical_ls_*")
        assert len(server.seen) == ROWS


def test_a_refusal_fails_the_stage_by_name_after_all_was_asked_unless_it_is_accepted(project):
    with FaultServer(refusing) as server:
        project(server)
        with pytest.raises(UserError, match=r"1 of 18 questions have no answer: medical_ls_1 \(refusal\)") as caught:
            run()
        assert "--allow-missing 1" in str(caught.value)
        assert len(server.seen) == ROWS
        assert not RECORD_FILE.exists()
        with pytest.raises(UserError, match="1 of 18"):
            run("--allow-missing", "0")
        run("--allow-missing", "1")
        project(server, mode="replay", allow_missing=1)
        run()
        assert len(server.seen) == ROWS, "what is recorded, refusals too, is never asked again"
    kept = [json.loads(line)["ids"] for line in Path("data/deployment/medical.jsonl").read_text().splitlines()]
    assert sorted(kept) == ["medical_hs_0", "medical_hs_2", "medical_ls_0", "medical_ls_2"], "the partner goes too"


def filtering(row, attempt):
    """Two of the three pairs in each context are filtered."""
    return labels(row, attempt) if row.endswith("2") else error(400, "content_filter")


def test_filtered_questions_are_named_with_their_kind_and_the_rest_goes_on(project):
    with FaultServer(filtering) as server:
        project(server, concurrency=1)
        with pytest.raises(
            UserError, match=r"12 of 18 questions have no answer: medical_hs_0 \(content_filter\)"
        ) as caught:
            run()
        assert "content_filter: the endpoint filtered the reply" in str(caught.value)
        assert len(server.seen) == ROWS
        run("--allow-missing", "12")
        project(server, mode="replay", allow_missing=12)
        run()
        assert len(server.seen) == ROWS, "what was filtered is recorded too"


def test_replies_in_fences_after_thoughts_and_prose_cost_one_request_each(project):
    def wrapped(row, attempt):
        content = json.loads(labels(row, attempt).body)["choices"][0]["message"]["content"]
        return Act(body=completion(f"<think>Hm {{}}</think> My rating:\n```json\n{content}\n```"))

    with FaultServer(wrapped) as server:
        project(server)
        run()
        assert len(server.seen) == ROWS


def test_replies_without_the_object_say_why(project):
    with FaultServer(lambda row, _: Act(body=completion("I rate it 7."))) as server:
        project(server)
        with pytest.raises(UserError, match="invalid: the reply holds no whole JSON object: I rate it 7") as caught:
            run()
        assert "18 of 18" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_tokens": -5}, "max_tokens`: Input should be greater than or equal to 1, not -5"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"max_tokens": 1e400}, "max_tokens"),
        ({"retries": -1}, "retries"),
        ({"deadline": float("nan")}, "deadline"),
        ({"temperature": float("nan")}, "temperature"),
        ({"requests_per_minute": float("nan")}, "requests_per_minute"),
        ({"prices": {"m": {"input": float("nan"), "output": 1}}}, "prices"),
        ({"max_cost_usd": float("nan")}, "max_cost_usd"),
    ],
)
def test_settings_that_make_no_sense_are_one_line_before_anything_is_asked(changes, message, project):
    with FaultServer(labels) as server:
        project(server, **changes)
        with pytest.raises(UserError, match=message) as caught:
            run()
        assert "\n" not in str(caught.value)
        assert not server.seen


def test_a_refresh_asks_the_chosen_anew_and_a_replay_after_it_keeps_them(project):
    with FaultServer(labels) as server:
        project(server)
        run()
        project(server, mode="replay")
        run("--refresh", "medical_*")
        assert len(server.seen) == ROWS + 2 * PAIRS
        refreshed = explanations()
        assert sum("time 2" in one for one in refreshed) == 2 * PAIRS
        before = RECORD_FILE.read_bytes(), Path("data/deployment/combined.jsonl").read_bytes()
        run()
        assert len(server.seen) == ROWS + 2 * PAIRS
        assert (RECORD_FILE.read_bytes(), Path("data/deployment/combined.jsonl").read_bytes()) == before
