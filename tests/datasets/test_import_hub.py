"""`mup datasets import hf://owner/name`, against a hub on this machine."""

import hashlib
import json
import os
import subprocess
from functools import partial
from pathlib import Path

import pytest
from own_tables import ROOT, TWO

SHA, OTHER = "a" * 40, "b" * 40


def hub_files(sha, parts, card=None):
    """What the hub answers for `org/data` at a commit."""
    siblings = [{"rfilename": name} for name in ["README.md", *parts]]
    info = {"id": "org/data", "sha": sha, "siblings": siblings, "cardData": card or {}, "private": False}
    return json.dumps(info).encode(), {f"datasets/org/data/resolve/{sha}/{name}": body for name, body in parts.items()}


@pytest.fixture
def on_hub(project, warm_path):
    """`mup datasets import hf://org/data`, by a process whose HF_ENDPOINT is a server on this machine."""
    return partial(import_from_hub, project, warm_path)


def import_from_hub(project, warm_path, answers, *arguments):
    import threading
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            found = answers.get(self.path.lstrip("/").partition("?")[0], (404, {"X-Error-Code": "EntryNotFound"}, b""))
            status, headers, body = found if isinstance(found, tuple) else (200, {}, found)
            self.send_response(status)
            commit = {"X-Repo-Commit": self.path.split("/")[5]} if "/resolve/" in self.path else {}
            etag = {"ETag": f'"{hashlib.sha256(body).hexdigest()}"'}
            for name, value in {**commit, **etag, **headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, *_):
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=httpd.serve_forever, args=(0.02,), daemon=True).start()
    own = {
        "HF_ENDPOINT": f"http://127.0.0.1:{httpd.server_port}",
        "HF_HOME": str(project / ".hf"),
        "HF_HUB_OFFLINE": "0",
        "PATH": warm_path,
        "PYTHONPATH": str(ROOT / "src"),
    }
    environment = {name: value for name, value in os.environ.items() if name not in ("HF_TOKEN", "HF_HUB_CACHE")}
    command = ["python", "-m", "models_under_pressure", "datasets", "import", "hf://org/data", "--as", "d"]
    try:
        return subprocess.run(
            [*command, *arguments], cwd=project, env=environment | own, capture_output=True, text=True, check=False
        )
    finally:
        httpd.shutdown()
        httpd.server_close()


INFO, MAIN = "api/datasets/org/data", "api/datasets/org/data/revision/main"


def test_a_hub_dataset_is_imported_at_a_commit_that_is_written_down(on_hub):
    info, files = hub_files(SHA, {"data/train-0.csv": TWO.encode(), "data/test-0.csv": TWO.encode()})
    done = on_hub({INFO: info, **files}, "--split", "test")
    assert done.returncode == 0, done.stderr
    assert f"revision {SHA}, split test" in done.stdout
    assert f"revision: {SHA}" in Path("data/own/d.jsonl.dvc").read_text()
    later, files = hub_files(OTHER, {"data/test-0.csv": TWO.replace("blue", "red").encode()})
    done = on_hub({INFO: later, **files}, "--split", "test")
    assert done.returncode == 1
    assert f"its revision was {SHA} and is {OTHER}" in done.stderr
    assert len(done.stderr.splitlines()) == 2, "one line, after the one of what is not made yet"
    assert "blue" in Path("data/own/d.jsonl").read_text()


def test_configs_and_splits_are_those_of_the_card_and_are_asked_for_where_there_are_several(on_hub):
    card = {
        "configs": [
            {"config_name": "en", "data_files": [{"split": "all", "path": "en/*.csv"}]},
            {"config_name": "de", "data_files": "de/*.csv"},
        ]
    }
    info, files = hub_files(SHA, {"en/a.csv": TWO.encode(), "de/a.csv": TWO.replace("blue", "blau").encode()}, card)
    answers = {INFO: info, f"{INFO}/revision/v1": info, **files}
    done = on_hub(answers)
    assert done.returncode == 1
    assert "there are 2 configs. Remedy: name one with --config: en, de." in done.stderr
    done = on_hub(answers, "--config", "de", "--revision", "v1", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "config de" in done.stdout


@pytest.mark.parametrize(
    ("answers", "arguments", "problem"),
    [
        ({INFO: (401, {"X-Error-Code": "RepoNotFound"}, b"")}, [], "or it is private and HF_TOKEN is not set"),
        ({INFO: (403, {"X-Error-Code": "GatedRepo"}, b"")}, [], "is gated, and HF_TOKEN is not set"),
        (
            {f"{INFO}/revision/v9": (404, {"X-Error-Code": "RevisionNotFound"}, b"")},
            ["--revision", "v9"],
            "there is no revision v9",
        ),
        ({INFO: hub_files(SHA, {"a.bin": b""})[0]}, [], "no CSV, Parquet or JSON Lines file is in it"),
    ],
)
def test_a_hub_dataset_that_cannot_be_had_is_one_line_with_the_remedy(on_hub, answers, arguments, problem):
    done = on_hub(answers, *arguments)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert problem in line
    assert "Remedy:" in line
    assert not list(Path("data/own").iterdir())
