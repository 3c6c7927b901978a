"""`mup review` in a temporary DVC repository: revisions, caches that lack things, and the gate."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from models_under_pressure.tools.review import GATE_STATUS, command as review
from models_under_pressure.core.errors import UserError

STAGE = """
import json, sys
from pathlib import Path
import numpy as np
from ruamel.yaml import YAML
from models_under_pressure.evaluation.report import EvaluateConfig, evaluate_scores
from models_under_pressure.evaluation.scores import ScoreList, write_scores
from models_under_pressure.core.files import write_json, write_jsonl
from models_under_pressure.core.records import Label, Record, write_records

params = YAML(typ="safe").load(Path("params.yaml"))
size, signal, noise = params["rows"], params["probe"]["signal"], params["probe"]["noise"]
labels = np.arange(size) % 2 == 0
records = [
    Record(f"{n:04}", f"{params['text']} {n}", Label.HIGH if high else Label.LOW) for n, high in enumerate(labels)
]
write_records(Path("data/evals/dev/mt.jsonl"), records)
logits = np.random.default_rng(0).normal(size=size) + signal * labels
logits = logits + 0.3 * np.random.default_rng([9, noise]).normal(size=size)
ids = tuple(record.id for record in records)
write_scores(
    Path("data/results/scores/mt_dev.parquet"),
    [ScoreList("mt_dev", "mean", 42, ids, ids, labels, logits, 1 / (1 + np.exp(-logits)))],
)
write_jsonl(
    Path("data/replies/relabel_mt.jsonl"),
    [{"key": f"{n:064x}", "model": "m", "finish_reason": "stop", "content": "{}",
      "usage": {"prompt_tokens": 100, "completion_tokens": 10}} for n in range(size)],
)
found = evaluate_scores(logits, labels, None, config=EvaluateConfig(resamples=100), seed=0)
write_json(Path("metrics/evaluate.json"), {"mt_dev": {"mean": found}})
write_json(Path("metrics/overlap.json"), {"mt_apr_30": {"pairs": 0}})
"""

PIPELINE = """
stages:
  all:
    cmd: {python} stage.py
    deps: [stage.py]
    params: [rows, text, probe]
    outs: [data/evals/dev/mt.jsonl, data/results/scores/mt_dev.parquet, data/replies/relabel_mt.jsonl]
    metrics:
      - metrics/evaluate.json: {{cache: false}}
      - metrics/overlap.json: {{cache: false}}
"""

PARAMS = """
rows: 200
text: hello
probe:
  signal: 1.5
  noise: 1
llm:
  model: gpt
  prices:
    gpt: {input: 2.5, output: 10.0}
"""

LINEAGE = """
datasets:
  mt_dev: {path: data/evals/dev/mt.jsonl, purpose: dev}
"""


class Repository:
    def run(self, *command):
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def change(self, **values):
        path = Path("params.yaml")
        for key, value in values.items():
            lines = [
                line.split(":")[0] + f": {value}" if line.strip().startswith(f"{key}:") else line
                for line in path.read_text().splitlines()
            ]
            path.write_text("\n".join(lines) + "\n")
        self.run("dvc", "repro", "-q")

    def commit(self, message):
        self.run("git", "add", "-A")
        self.run("git", "commit", "-qm", message)

    def review(self, *arguments):
        app = typer.Typer()
        app.command()(review)
        return CliRunner().invoke(app, list(arguments), catch_exceptions=False)

    def json(self, *arguments):
        return json.loads(self.review(*arguments, "--format", "json").output)


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AUTHOR", "COMMITTER"):
            patch.setenv(f"GIT_{name}_NAME", "test")
            patch.setenv(f"GIT_{name}_EMAIL", "test@example.com")
        patch.setenv("DVC_NO_ANALYTICS", "1")
        patch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path_factory.mktemp("site")))
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[2] / "src"))
        patch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        yield


@pytest.fixture(scope="module")
def template(environment, tmp_path_factory):
    folder = tmp_path_factory.mktemp("template") / "repository"
    (folder / "data").mkdir(parents=True)
    for name, content in {
        "stage.py": STAGE,
        "dvc.yaml": PIPELINE.format(python=sys.executable),
        "params.yaml": PARAMS,
        "data/versions.yaml": LINEAGE,
        ".gitignore": "/data/*\n!/data/versions.yaml\n",
    }.items():
        (folder / name).write_text(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        found = Repository()
        found.run("git", "init", "-q")
        found.run("dvc", "init", "-q")
        found.run("dvc", "remote", "add", "-q", "-d", "store", "../store")
        found.run("dvc", "repro", "-q")
        found.commit("first")
    return folder


@pytest.fixture
def repository(template, tmp_path, monkeypatch):
    shutil.copytree(template, tmp_path / "repository")
    monkeypatch.chdir(tmp_path / "repository")
    return Repository()


@pytest.mark.slow
def test_a_pull_request_from_change_to_verdict(repository):
    assert repository.json()["verdicts"] == {
        "better": 0,
        "worse": 0,
        "noise": 0,
        "unchanged": 1,
        "not comparable": 0,
    }

    repository.change(noise=2)
    found = repository.json()
    assert [(row["key"], row["before"], row["after"]) for row in found["params"]] == [("probe.noise", 1, 2)]
    assert found["verdicts"]["noise"] == 1
    repository.commit("noise")

    repository.change(signal=0.5)
    assert repository.review("--fail-if", "worse").exit_code == GATE_STATUS
    assert repository.review("HEAD").exit_code == 0
    repository.commit("loss")
    assert repository.json("HEAD~1", "--to", "HEAD")["verdicts"]["worse"] == 1
    assert repository.json("HEAD", "--to", "HEAD~1")["verdicts"]["better"] == 1
    assert repository.json("HEAD~2", "--to", "HEAD~1")["verdicts"]["noise"] == 1

    repository.change(text="goodbye", signal=3.0)
    found = repository.json()
    assert found["results"][0]["reason"] == "200 texts edited"
    assert found["datasets"][0]["edited"] == 200
    assert found["costs"] == {}

    repository.commit("texts")
    repository.change(rows=220)
    found = repository.json()
    assert [(row["reason"], row["n"]) for row in found["results"]] == [("20 added", 220)]
    assert found["costs"]["relabel_mt"] == {
        "replies": 20,
        "input_tokens": 2000,
        "output_tokens": 200,
        "usd": pytest.approx(20 * (100 * 2.5 + 10 * 10) / 1e6),
    }
    done = repository.review("--output", "review.md")
    assert done.output == ""
    assert "| `data/evals/dev/mt.jsonl` | 200 rows" in Path("review.md").read_text()


@pytest.mark.slow
def test_what_no_cache_and_no_remote_has_is_listed_and_the_rest_still_reviewed(repository):
    repository.change(signal=3.0)
    repository.run("rm", "-rf", ".dvc/cache")
    found = repository.json()
    assert found["results"][0]["verdict"] == "not comparable"
    assert found["results"][0]["reason"] == "scores per record are out of reach"
    assert found["results"][0]["before"] < found["results"][0]["after"]
    assert any("scores/mt_dev.parquet of HEAD: neither the cache nor a remote has it" in w for w in found["warnings"])


@pytest.mark.slow
def test_a_clone_without_data_fetches_scores_from_the_remote(repository, tmp_path, monkeypatch):
    # Not `push --all-commits`: DVC takes an older commit's relative remote for a folder at the root of the disk.
    repository.run("dvc", "push", "-q")
    repository.change(signal=0.5)
    repository.commit("loss")
    repository.run("dvc", "push", "-q")
    clone = Path("../clone").resolve()
    repository.run("git", "clone", "-q", ".", str(clone))
    monkeypatch.chdir(clone)
    found = repository.json("HEAD~1", "--to", "HEAD")
    assert found["warnings"] == []
    assert found["verdicts"]["worse"] == 1


@pytest.mark.slow
def test_a_workspace_that_was_not_pulled_is_listed(repository):
    Path("data/results/scores/mt_dev.parquet").unlink()
    found = repository.json()
    assert found["warnings"] == [
        "data/results/scores/mt_dev.parquet is not in the workspace: run `dvc pull data/results/scores/mt_dev.parquet`"
    ]
    assert found["verdicts"]["unchanged"] == 1


@pytest.mark.slow
def test_a_revision_that_does_not_exist_is_named_with_the_remedy_for_ci(repository):
    for name in ("HEAD~9", "--upload-pack=x", "nonsense"):
        with pytest.raises(UserError, match="no revision.*fetch-depth: 0"):
            repository.review("--", name)


@pytest.mark.slow
def test_a_commit_before_the_first_run_has_nothing_to_compare(repository):
    Path("dvc.lock").unlink()
    repository.run("git", "rm", "-rq", "--cached", "dvc.lock", "metrics")
    for path in Path("metrics").iterdir():
        path.unlink()
    repository.commit("no results")
    found = repository.json("HEAD", "--to", "HEAD~1")
    assert found["results"][0]["reason"] == "new"
    assert found["warnings"] == ["HEAD has no dvc.lock: nothing had been run there"]
