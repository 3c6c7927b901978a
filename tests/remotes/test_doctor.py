"""`mup doctor` says what stands in the way, and never a key."""

import http.server
import json
import subprocess
import threading

import pytest
from remote_projects import ROOT
from remote_servers import KEY_ID, SECRET
from typer.testing import CliRunner

from models_under_pressure.activations.config import ModelConfig
from models_under_pressure.cli import app
from models_under_pressure.remotes.target import BucketSettings
from models_under_pressure.tools import doctor
from models_under_pressure.tools._planned_run import PlannedStore, estimate_stores, model_access, planned_run

SECRETS = [name for name, field in BucketSettings.model_fields.items() if "SecretStr" in str(field.annotation)]


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch, tmp_path):
    for name in BucketSettings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))


def test_keys_are_named_and_never_shown(monkeypatch, tmp_path):
    for name in SECRETS:
        monkeypatch.setenv(name.upper(), f"canary-{name}")
    found = {finding.topic: finding.detail for finding in doctor.keys(root=tmp_path)}
    assert set(found["set"].split(", ")) >= {name.upper() for name in SECRETS}
    assert "R2_DATASETS_BUCKET" in found["not set"]
    assert not any("canary" in detail for detail in found.values())


def test_an_env_file_that_others_can_read_or_git_tracks_is_told(project):
    (project.path / ".env").write_text("HF_TOKEN=x\n")
    (project.path / ".env").chmod(0o644)
    notes = [finding for finding in doctor.keys(root=project.path) if finding.topic == "private"]
    assert ["chmod 600 .env" in finding.remedy for finding in notes] == [True]
    project.git("add", "-f", ".env")
    (project.path / ".env").chmod(0o600)
    (tracked,) = [finding for finding in doctor.keys(root=project.path) if finding.topic == "private"]
    assert (tracked.state, tracked.detail) == ("failure", "git tracks .env")


def test_the_space_of_stores_is_counted_in_rows_of_two_bytes_per_value(tmp_path):
    lines = [b"x" * 349 + b"\n", b"x" * 3499 + b"\n"]
    (tmp_path / "a.jsonl").write_bytes(b"".join(lines))
    (tmp_path / "done.zarr").mkdir()
    (tmp_path / "b.jsonl").write_bytes(b"".join(lines))
    files = {"a": ("a.jsonl", "a.zarr"), "b": ("b.jsonl", "done.zarr"), "later": ("c.jsonl", "c.zarr")}
    tokens, records = (
        [PlannedStore(name, tmp_path / file, tmp_path / store, keep) for name, (file, store) in files.items()]
        for keep in (True, False)
    )
    found = estimate_stores(tokens, hidden=64, max_tokens=512)
    assert (found.existing, found.planned, found.unknown) == (1, 1, ("later",))
    assert found.bytes == (101 + 512) * 64 * 2, "350 characters are 101 tokens at most; the long record is cut"
    assert estimate_stores(records, hidden=64, max_tokens=512).bytes == 2 * 64 * 2


@pytest.fixture
def hub(monkeypatch):
    """A model hub of which tests set the answers: path -> (status, headers, JSON)."""
    answers = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            status, headers, body = answers.get(self.path.partition("?")[0], (404, {}, {}))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            content = json.dumps(body).encode()
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        do_HEAD = do_GET

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    from huggingface_hub import constants

    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", address)
    yield answers
    server.shutdown()
    server.server_close()


CHECK, INFO = "/api/models/org/model/auth-check", "/api/models/org/model"


@pytest.mark.parametrize(
    ("token", "answers", "problem", "remedy"),
    [
        (None, {CHECK: (403, {"X-Error-Code": "GatedRepo"}, {})}, "HF_TOKEN is not set", "accept the licence"),
        ("t", {CHECK: (403, {"X-Error-Code": "GatedRepo"}, {})}, "HF_TOKEN has no access", "accept the licence"),
        (None, {CHECK: (404, {"X-Error-Code": "RepoNotFound"}, {})}, "or it is private", "set HF_TOKEN"),
        (None, {CHECK: (500, {}, {})}, "hub cannot be asked", "smollm2-135m"),
    ],
)
def test_a_model_that_cannot_be_had_is_told_with_its_remedy(hub, token, answers, problem, remedy, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", token or "")
    hub.update(answers)
    found = model_access(ModelConfig(name="org/model"), offline=False)
    assert found.finding.state == "failure"
    assert problem in found.finding.detail
    assert remedy in found.finding.remedy


def test_a_hub_that_cannot_be_reached_is_told(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    found = model_access(ModelConfig(name="org/model"), offline=False)
    assert "cannot be asked" in found.finding.detail


def test_offline_asks_no_hub(hub):
    found = model_access(ModelConfig(name="org/model"), offline=True)
    assert found.finding.state == "note"


def test_a_local_model_tells_its_width(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"text_config": {"hidden_size": 48}}))
    found = model_access(ModelConfig(name=str(tmp_path)), offline=True)
    assert (found.finding.state, found.hidden, found.download) == ("ok", 48, 0)


def test_a_params_file_with_a_mistake_is_told_in_one_line(project):
    (finding,) = planned_run(root=project.path, offline=True)
    assert finding.state == "failure"
    assert "params.yaml" in finding.detail


def test_remotes_without_a_default_for_the_run_cache_are_noted(project):
    project.git("config", "user.name", "t")
    (project.path / ".dvc/config.local").write_text("[core]\n    remote = datasets\n")
    found = {finding.topic: finding for finding in doctor.remotes(root=project.path, offline=True)}
    assert "the run cache is restored from the default only" in found["default"].detail


def test_the_page_shows_no_key_and_ends_with_status_1_if_something_stands_in_the_way(project):
    (project.path / ".env").write_text(f"R2_ACCESS_KEY_ID={KEY_ID}\nR2_SECRET_ACCESS_KEY={SECRET}\n")
    shown = project.mup("doctor", "--offline", check=False)
    assert shown.returncode == 1, "this small project has other parameters"
    for section in ("software", "hardware", "keys", "results", "cache", "remotes", "planned run"):
        assert f"{section}\n" in shown.output
    assert "R2_SECRET_ACCESS_KEY" in shown.output
    assert SECRET not in shown.output
    assert KEY_ID not in shown.output


def test_outside_a_project_the_page_goes_on(project, tmp_path):
    project.path = tmp_path
    shown = project.mup("doctor", "--offline", check=False)
    assert shown.returncode == 1
    assert "not a DVC project" in shown.output
    assert shown.output.index("not a DVC project") < shown.output.index("planned run")


def test_the_layers_that_are_compared_need_space_too(monkeypatch, tmp_path):
    """`extract` makes one store of the training prompts, and `extract_layers` five."""
    monkeypatch.setenv("MUP_STORES", str(tmp_path / "stores"))
    names = ("params.yaml", "experiments/params.yaml", "data/versions.yaml", ".dvc/config")
    for name in (*names, "data/training/prompts_4x/train.jsonl"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text((ROOT / name).read_text() if name.endswith(("yaml", "config")) else "{}\n" * 9)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    found = [finding.detail for finding in planned_run(root=tmp_path, offline=True) if finding.topic == "space"]
    assert "6 stores to make" in found[0]
    assert "validation" in found[1]
    assert "layer" not in found[1]
    (tmp_path / "experiments/params.yaml").unlink()
    alone = [finding.detail for finding in planned_run(root=tmp_path, offline=True) if finding.topic == "space"]
    assert "1 stores to make" in alone[0], "a project without experiments"


@pytest.mark.parametrize("content", [b"", b'{"a": {', b"[]", b"\xff", b"[" * 99_999])
def test_a_lock_of_dvc_that_a_kill_cut_is_said_by_whatever_runs_next(content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lock = tmp_path / ".dvc/tmp/rwlock"
    lock.parent.mkdir(parents=True)
    lock.write_bytes(content)
    result = CliRunner().invoke(app, ["acts", "list"])
    assert result.exit_code == 0
    assert "Remedy: `rm .dvc/tmp/rwlock`" in result.stderr
    lock.write_text("{}")
    assert CliRunner().invoke(app, ["acts", "list"]).stderr == ""
