"""Small DVC repositories to review: one of the form that commits had once, one of today's."""

import json
import shutil
import subprocess
from pathlib import Path

import typer
from typer.testing import CliRunner

from models_under_pressure.tools.review import command

_SCORES = """
import json, sys
from pathlib import Path
import numpy as np
from ruamel.yaml import YAML
from models_under_pressure.evaluation.report import EvaluateConfig, evaluate_scores
from models_under_pressure.evaluation.scores import ScoreList, write_scores
from models_under_pressure.core.files import file_hash, write_json, write_jsonl
from models_under_pressure.core.records import Label, Record, write_records

params = YAML(typ="safe").load(Path("params.yaml"))
size, signal, noise = params["rows"], params["probe"]["signal"], params["probe"]["noise"]
labels = np.arange(size) % 2 == 0
records = [
    Record(f"{n:04}", f"{params['text']} {n}", Label.HIGH if high else Label.LOW) for n, high in enumerate(labels)
]
logits = np.random.default_rng(0).normal(size=size) + signal * labels
logits = logits + 0.3 * np.random.default_rng([9, noise]).normal(size=size)
ids = tuple(record.id for record in records)

def score_list(name, logits):
    return ScoreList("mt_dev", name, 42, ids, ids, labels, logits, 1 / (1 + np.exp(-logits)))

def measured(logits):
    return evaluate_scores(logits, labels, None, config=EvaluateConfig(resamples=100), seed=0)

def replies(name):
    rows = [
        {"key": f"{n:064x}", "model": "m", "finish_reason": "stop", "content": "{}",
         "usage": {"prompt_tokens": 100, "completion_tokens": 10}} for n in range(size)
    ]
    write_jsonl(Path(f"data/replies/{name}.jsonl"), rows)
"""

OLD_STAGE = (
    _SCORES
    + """
write_records(Path("data/evals/dev/mt_balanced_apr_30.jsonl"), records)
write_scores(Path("data/results/scores/mt_dev/mean.parquet"), [score_list("mean", logits)])
replies("relabel_mt_apr_30")
write_json(Path("metrics/evaluate.json"), {"mt_dev": {"mean": measured(logits)}})
write_json(Path("metrics/overlap.json"), {"mt_apr_30": {"pairs": 0, "rows": {}}})
"""
)

OLD_PIPELINE = """
stages:
  all:
    cmd: python stage.py
    deps: [stage.py]
    params: [rows, text, probe]
    outs:
      - data/evals/dev/mt_balanced_apr_30.jsonl
      - data/results/scores/mt_dev/mean.parquet
      - data/replies/relabel_mt_apr_30.jsonl
    metrics:
      - metrics/evaluate.json: {cache: false}
      - metrics/overlap.json: {cache: false}
"""

OLD_LINEAGE = """
sources:
  mt: {test_fraction: 0.5}
test_sources: {}
datasets:
  mt_dev: {path: data/evals/dev/mt_balanced_apr_30.jsonl, purpose: dev}
"""

STAGE = (
    _SCORES
    + """
from models_under_pressure.evaluation.report import intervals

folder = Path("data/evals/mt_apr_30")
for kind in ("raw", "balanced"):
    write_records(folder / f"mt_{kind}_apr_30.jsonl", records)
write_json(folder / "manifest.json", {"rows": size})
in_use = Path("data/datasets/dev/mt_dev.jsonl")
write_records(in_use, records)
write_json(Path("data/datasets/origins.json"), {"mt_dev": {"version": "mt_apr_30"}})
write_scores(Path("data/results/scores/probes.parquet"), [score_list("mean", logits)])
write_json(Path("data/probes/mean/seed_42/probe.json"), {"provenance": {"compute_dtype": params["probe"]["dtype"]}})
replies("relabel_mt_apr_30")
found = measured(logits)
write_json(Path("metrics/evaluate.json"), {"auroc": {"mt_dev": {"mean": found["auroc"]}}})
write_json(Path("metrics/overlap.json"), {"mt_apr_30": 0, "in_use": 0})
known = {"purpose": "dev", "content": file_hash(in_use), "methods": {"mean": intervals(found)}}
write_json(Path("metrics/intervals.json"), {"mt_dev": known})
"""
)

PIPELINE = """
stages:
  all:
    cmd: python stage.py
    deps: [stage.py]
    params: [rows, text, probe]
    outs:
      - data/evals/mt_apr_30
      - data/datasets
      - data/results/scores/probes.parquet
      - data/probes/mean
      - data/replies/relabel_mt_apr_30.jsonl
      - metrics/intervals.json: {cache: false}
    metrics:
      - metrics/evaluate.json: {cache: false}
      - metrics/overlap.json: {cache: false}
"""

EXPERIMENT = (
    _SCORES
    + """
from models_under_pressure.evaluation.report import intervals

own = YAML(typ="safe").load(Path("experiments/params.yaml"))["ask_baseline"]["signal"]
logits = np.random.default_rng(3).normal(size=size) + own * labels
write_scores(Path("data/experiments/scores/asked.parquet"), [score_list("asked", logits)])
known = {"purpose": "dev", "content": file_hash(Path("data/datasets/dev/mt_dev.jsonl"))}
known["methods"] = {"asked": intervals(measured(logits))}
write_json(Path("metrics/experiments_intervals.json"), {"mt_dev": known})
"""
)

EXPERIMENTS_PIPELINE = """
stages:
  ask_baseline:
    wdir: ..
    cmd: python experiment.py
    deps: [experiment.py, data/datasets/dev]
    params:
      - experiments/params.yaml: [ask_baseline]
    outs:
      - data/experiments/scores/asked.parquet
      - metrics/experiments_intervals.json: {cache: false}
"""

LINEAGE = """
sources:
  mt: {test_fraction: 0.5}
versions:
  mt_apr_30: {parent: mt_source}
datasets:
  dev:
    mt_dev: mt_apr_30
"""

PARAMS = """
rows: 200
text: hello
probe:
  signal: 1.5
  noise: 1
  dtype: float32
llm:
  model: gpt
  prices:
    gpt: {input: 2.5, output: 10.0}
"""

OLD = {
    "stage.py": OLD_STAGE,
    "dvc.yaml": OLD_PIPELINE,
    "params.yaml": PARAMS,
    "data/versions.yaml": OLD_LINEAGE,
    ".gitignore": "/data/*\n!/data/versions.yaml\n",
}
TODAY = {
    **OLD,
    "stage.py": STAGE,
    "dvc.yaml": PIPELINE,
    "data/versions.yaml": LINEAGE,
    "experiment.py": EXPERIMENT,
    "experiments/dvc.yaml": EXPERIMENTS_PIPELINE,
    "experiments/params.yaml": "ask_baseline:\n  signal: 1.0\n",
}
CONFIG = """\
[core]
    remote = store
['remote "store"']
    url = ../../store
"""


class Repository:
    """The repository in the current folder."""

    def run(self, *command):
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def write(self, files):
        for name, content in files.items():
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_text(content)

    def repro(self):
        self.run("python", "-m", "dvc", "repro", "-q", "-P")

    def change(self, file="params.yaml", **values):
        path = Path(file)
        for key, value in values.items():
            lines = [
                line.split(":")[0] + f": {value}" if line.strip().startswith(f"{key}:") else line
                for line in path.read_text().splitlines()
            ]
            path.write_text("\n".join(lines) + "\n")
        self.repro()

    def commit(self, message):
        self.run("git", "add", "-A")
        self.run("git", "commit", "-qm", message)

    def take_back_commit(self):
        """The last commit is a change of the workspace."""
        self.run("git", "reset", "-q", "--soft", "HEAD~1")

    def push(self):
        """To the remote: what `dvc push` of every commit would; with `--all-commits` DVC takes an older commit's
        relative remote for a folder at the root of the disk."""
        shutil.copytree(".dvc/cache/files", "../store/files")

    def review(self, *arguments):
        app = typer.Typer()
        app.command()(command)
        return CliRunner().invoke(app, list(arguments), catch_exceptions=False)

    def json(self, *arguments):
        return json.loads(self.review(*arguments, "--format", "json").output)


def make_repository(folder, files):
    """A repository of four commits in the current folder, whose remote is a folder beside it.

    From the last one backwards: HEAD lost quality, HEAD~1 has other texts, HEAD~2 differs from HEAD~3 by noise, and by
    how its activations were computed.
    """
    found = Repository()
    found.write(files)
    found.write({".dvc/config": CONFIG, ".dvc/.gitignore": "/cache\n/tmp\n"})
    found.run("git", "init", "-q")
    found.repro()
    found.commit("first")
    found.change(noise=2, dtype="bfloat16")
    found.commit("noise")
    found.change(text="goodbye", signal=3.0)
    found.commit("texts")
    found.change(signal=0.5)
    found.commit("loss")
    return folder
