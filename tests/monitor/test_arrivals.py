"""`mup score` gives a row as soon as it has come, also while the pipe stays open."""

import json
import os
import select
import subprocess
import threading
from pathlib import Path

import pytest

from models_under_pressure.core.arrivals import as_they_come
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.records import stream_records

SOURCE = Path(__file__).parents[2] / "src"


@pytest.fixture
def scoring(probe_folder, warm_path, tmp_path):
    """A running `mup score` that reads a pipe."""
    environment = os.environ | {"PATH": warm_path, "PYTHONPATH": str(SOURCE)}
    command = ["python", "-m", "models_under_pressure", "score", "--probe", str(probe_folder)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, bufsize=0, **pipes)
    yield process
    process.kill()
    process.communicate()


def answer(process, timeout=120):
    """The next row; fails where none comes."""
    assert select.select([process.stdout], [], [], timeout)[0], "no row came"
    return json.loads(process.stdout.readline())


def test_a_row_is_scored_before_the_next_one_is_written(scoring):
    for number, text in enumerate(["fire in the kitchen", "東京 cake", "x" * 9000]):
        scoring.stdin.write(json.dumps({"ids": f"r{number}", "inputs": text}).encode() + b"\n")
        assert answer(scoring)["ids"] == f"r{number}"
    scoring.stdin.write(
        b'{"ids": "a", "inputs": "one"}\n{"ids": "b", "inputs": "two, longer"}\n{"ids": "r0", "inputs": "x"}\n'
    )
    assert [answer(scoring)["ids"], answer(scoring)["ids"]] == ["a", "b"]
    _, told = scoring.communicate()
    assert b"standard input:6: the id 'r0' occurred before" in told
    assert scoring.returncode == 1


def test_an_end_that_comes_early_ends_the_command_while_the_pipe_is_open(scoring):
    scoring.stdin.write(b"not json\n")
    assert scoring.wait(60) == 1
    assert b"standard input:1: line is not JSON" in scoring.stderr.read()


def test_what_has_come_is_given_at_once_and_in_order_and_never_more_than_asked():
    more = threading.Event()

    def source():
        yield from range(5)
        more.wait(10)
        yield from range(5, 7)

    found = []
    for chunk in as_they_come(source(), 2):
        assert len(chunk) <= 2
        found += chunk
        if len(found) == 5:
            more.set()
    assert found == list(range(7))


def test_an_error_of_the_source_comes_after_what_stood_before_it():
    rows = iter([(1, {"inputs": "a"}), (2, {"inputs": "b"}), (3, {"inputs": ""})])
    found = []

    def take():
        for chunk in as_they_come(stream_records(rows, where="x"), 8):
            found.extend(chunk)

    with pytest.raises(UserError, match="x:3: conversation is empty"):
        take()
    assert [record.id for record in found] == ["0", "1"]
