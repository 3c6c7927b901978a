"""The command `mup serve` as a process: killed, ended, and refused."""

import json
import os
import signal
import subprocess
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from models_under_pressure.cli import app
from models_under_pressure.core.errors import UserError
from models_under_pressure.tools import serve

SOURCE = Path(__file__).parents[2] / "src"


MUP = """\
import os
from models_under_pressure.cli import main
print(os.getpid(), flush=True)
main()
"""


class Serving(subprocess.Popen):
    """A process that serves; signals go to the one that serves, not to the `python` that waits for it."""

    def __init__(self, *args, **options):
        super().__init__(*args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
        self.serves = int(self.stdout.readline())

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.serves, number)


@pytest.fixture
def process(probe_folder, tmp_path, warm_path):
    """The command at a free port, and its address."""
    return partial(serving, probe_folder, tmp_path, warm_path)


@contextmanager
def serving(probe_folder, folder, warm_path, log, **variables):
    script = folder / "mup.py"
    script.write_text(MUP)
    command = ["python", str(script), "serve", "--probe", str(probe_folder), "--port", "0"]
    command += ["--log", str(log), "--device", "cpu", "--grace", "1", "--max-new-tokens", "1500"]
    environment = {**os.environ, "PATH": warm_path, "PYTHONPATH": str(SOURCE), **variables}
    with Serving(command, env=environment) as child:
        try:
            said = []
            while not (said and said[-1].startswith("mup serve: ")):
                said.append(child.stderr.readline())
                assert said[-1], f"the command ended: {''.join(said)}"
            yield child, said[-1].split()[4]
        finally:
            child.kill()


def begin(client, address, tokens):
    body = {"messages": [{"role": "user", "content": "a"}], "max_tokens": tokens, "stream": True, "seed": 1}
    body["model"] = client.get(f"{address}/v1/models").json()["data"][0]["id"]
    return client.stream("POST", f"{address}/v1/chat/completions", json=body)


@pytest.mark.slow
def test_a_kill_loses_no_finished_line_and_a_signal_ends_replies_with_theirs(process, tmp_path):
    log = tmp_path / "talk.jsonl"
    with httpx.Client(timeout=60) as client:
        with process(log) as (child, address):
            finished = []
            for _ in range(3):
                with begin(client, address, 3) as stream:
                    lines = [line for line in stream.iter_lines() if line]
                assert lines[-1] == "data: [DONE]"
                finished.append(json.loads(lines[0].removeprefix("data: "))["id"])
            with begin(client, address, 1500) as stream:
                lines = stream.iter_lines()  # kept: to drop it is to leave
                next(lines)
                child.kill()
                child.wait()
        assert [json.loads(line)["ids"] for line in log.read_text().splitlines()] == finished
        with log.open("a") as stream:
            stream.write('{"ids": "torn')
        with process(log, MUP_SERVE_KEY="geheim") as (child, address):
            client.headers["Authorization"] = "Bearer geheim"
            with begin(client, address, 1500) as stream:
                lines = stream.iter_lines()
                next(lines)
                child.send_signal(signal.SIGTERM)
                with suppress(httpx.RemoteProtocolError):  # cut off, when the second of grace is over
                    list(lines)
            said = child.stderr.read()
            assert child.wait(timeout=60) == 0
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    assert [row["ids"] for row in rows[:-1]] == finished
    assert rows[-1]["action"] in ("left", "finished", "length")
    assert "geheim" not in said


def test_other_machines_are_let_in_with_a_key_only(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MUP_SERVE_KEY", raising=False)
    with pytest.raises(UserError, match="without a key") as caught:
        serve.command(["none"], host="0.0.0.0")
    assert "MUP_SERVE_KEY" in str(caught.value)


def test_without_the_extra_it_says_how_to_install(monkeypatch):
    monkeypatch.setattr(serve, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"models-under-pressure\[serve\]"):
        serve.command(["none"])


def test_its_help_has_an_example():
    assert "Example: mup serve" in CliRunner().invoke(app, ["serve", "--help"]).output
