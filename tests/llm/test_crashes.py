import os
import signal
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from fault_server import Act, FaultServer, answer

from models_under_pressure.llm import answering

ROWS = 90


class Asking(subprocess.Popen):
    """A process of `asking.py`; signals go to the one that asks, not to the `python` that waits for it."""

    def __init__(self, *args, **options):
        super().__init__(*args, stdout=subprocess.PIPE, **options)
        self.asks = int(self.stdout.readline())

    def send_signal(self, number):
        os.kill(self.asks, number)


@pytest.fixture
def start(tmp_path, config, warm_path):
    def start(server, name="stage", stderr=None, **changes):
        path = tmp_path / f"{name}.json"
        path.write_text(config(server, concurrency=8, **changes).model_dump_json())
        script = Path(__file__).with_name("asking.py")
        command = ["python", str(script), str(path), str(ROWS), str(tmp_path / f"{name}.jsonl")]
        environment = os.environ | {"PATH": warm_path, "PYTHONPATH": str(Path(answering.__file__).parents[2])}
        return Asking(command, env=environment, stderr=stderr)

    return start


def recorded():
    """Rows in the ledger, read as another process would."""
    path = os.environ["MUP_LEDGER"]
    if not Path(path).exists():
        return set()
    with sqlite3.connect(path) as connection:
        requests = connection.execute("select request from replies").fetchall()
    return {request.split("row ")[1].split('"')[0] for (request,) in requests}


def wait_until(condition, process):
    while not condition():
        assert process.poll() is None, "the process ended by itself"
        time.sleep(0.01)


@pytest.mark.slow
def test_after_kill_9_three_times_only_what_is_not_recorded_is_asked(start, tmp_path):
    with FaultServer(latency=0.02) as server:
        before: set[str] = set()
        for stop_at in (20, 45, 70):
            asked_before = len(server.seen)
            process = start(server)
            wait_until(lambda stop_at=stop_at: len(server.seen) >= stop_at, process)
            process.kill()
            process.wait()
            server.wait_until_quiet()
            asked = {seen.row for seen in server.seen[asked_before:]}
            assert asked, "the process was killed before it asked"
            assert not asked & before
            lost = asked - recorded()
            assert len(lost) <= 8, "only what was under way may be lost"
            before = recorded()
            assert not (tmp_path / "stage.jsonl").exists()
        asked_before = len(server.seen)
        assert start(server).wait() == 0
        assert {seen.row for seen in server.seen[asked_before:]} == {str(i) for i in range(ROWS)} - before
        assert recorded() == {str(i) for i in range(ROWS)}
        lines = (tmp_path / "stage.jsonl").read_bytes()
        asked_before = len(server.seen)
        assert start(server).wait() == 0
        assert len(server.seen) == asked_before
        assert (tmp_path / "stage.jsonl").read_bytes() == lines


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_waits_for_what_is_paid_for_and_loses_nothing(number, start):
    signalled = threading.Event()

    def plan(row, attempt):
        if len(server.seen) > 20:
            signalled.wait(timeout=50)
        return Act()

    with FaultServer(plan, latency=0.1) as server:
        process = start(server, stderr=subprocess.PIPE)
        wait_until(lambda: len(server.seen) >= 28, process)
        process.send_signal(number)
        heard = process.stderr.readline()
        signalled.set()
        rest = process.stderr.read()
        assert process.wait(timeout=60) == 1
        assert b"waiting for the requests under way" in heard
        assert f"28 of {ROWS} questions are answered and recorded".encode() in rest
        assert b"Traceback" not in rest
        assert recorded() == {seen.row for seen in server.seen}
        assert len(server.seen) == 28


@pytest.mark.slow
def test_a_second_interrupt_does_not_wait(start):
    with FaultServer(lambda row, attempt: Act(delay=100)) as server:
        process = start(server, stderr=subprocess.PIPE)
        wait_until(lambda: len(server.seen) == 8, process)
        process.send_signal(signal.SIGINT)
        assert process.stderr.readline()
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(timeout=60) == 1
        assert f"0 of {ROWS} questions are answered and recorded".encode() in rest
        assert b"Traceback" not in rest


@pytest.mark.slow
def test_processes_that_ask_the_same_agree_on_the_replies(start, tmp_path):
    all_here = threading.Event()

    def plan(row, attempt):
        if row == "0" and attempt == 3:
            all_here.set()
        all_here.wait(timeout=50)
        return answer(explanation=f"attempt {attempt}")

    with FaultServer(plan, latency=0.01) as server:
        processes = [start(server, name) for name in ("one", "two", "three")]
        assert [process.wait() for process in processes] == [0, 0, 0]
        assert server.rows["0"] == 3, "the processes never met"
    files = [(tmp_path / f"{name}.jsonl").read_bytes() for name in ("one", "two", "three")]
    assert files[0] == files[1] == files[2]
    assert files[0].count(b"\n") == ROWS


@pytest.mark.slow
def test_a_killed_batch_is_taken_up_and_not_submitted_twice(start):
    with FaultServer() as server:
        server.batch_looks = 10**6
        process = start(server, batch=True, batch_poll_seconds=0.05)
        wait_until(lambda: any(batch["looks"] >= 2 for batch in server.batches.values()), process)
        process.kill()
        process.wait()
        server.batch_looks = 0
        assert start(server, batch=True, batch_poll_seconds=0.05).wait() == 0
        assert len(server.batches) == 1
        assert not server.seen, "nothing was left to be asked one by one"
        assert recorded() == {str(i) for i in range(ROWS)}


@pytest.mark.slow
def test_a_killed_refresh_goes_on_where_it_was(start):
    with FaultServer(latency=0.02) as server:
        assert start(server).wait() == 0
        server.seen.clear()
        process = start(server, mode="refresh")
        wait_until(lambda: len(server.seen) >= 40, process)
        process.kill()
        process.wait()
        server.wait_until_quiet()
        assert start(server, mode="refresh").wait() == 0
        again = Counter(server.rows.values())
        assert set(again) <= {1, 2}
        assert again[2] <= 8, "only what was under way is asked twice"
        assert sum(again.values()) == ROWS
        server.seen.clear()
        assert start(server, mode="refresh").wait() == 0
        assert len(server.seen) == ROWS, "a refresh that was finished is followed by a new one"
