"""A small DVC project with the remotes of this one: datasets, activations, metrics; a stage takes milliseconds."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from remote_processes import Command
from remote_servers import KEY_ID, SECRET

ROOT = Path(__file__).parents[2]
LAYER = "data/activations/toy/{dataset}/layer_{layer}.zarr"
MAKE = """\
import json, pathlib, random, sys
kind, key, value = sys.argv[1:]
if kind == "relabel":
    path = pathlib.Path(f"data/evals/{key}.jsonl")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"ids": f"{n}", "label": value}) + "\\n" for n in range(200)))
elif kind == "extract":
    store = pathlib.Path(f"data/activations/toy/{key}/layer_{value}.zarr")
    store.mkdir(parents=True, exist_ok=True)
    source = pathlib.Path(f"data/evals/{key}.jsonl").read_text()
    for n in range(3):
        (store / f"c{n}").write_bytes(random.Random(f"{source} {value} {n}").randbytes(200_000))
else:
    pathlib.Path("metrics").mkdir(exist_ok=True)
    stores = sorted(pathlib.Path("data/activations/toy").glob(f"*/layer_{value}.zarr"))
    seen = {store.parent.name: sum(sum(part.read_bytes()) for part in sorted(store.iterdir())) for store in stores}
    pathlib.Path("metrics/summary.json").write_text(json.dumps(seen, indent=2) + "\\n")
"""
DVC_YAML = f"""\
vars:
  - python: {sys.executable}
stages:
  relabel:
    foreach: ${{versions}}
    do:
      cmd: ${{python}} make.py relabel ${{key}} ${{item.label}}
      deps:
        - make.py
      outs:
        - data/evals/${{key}}.jsonl:
            remote: datasets
  extract:
    foreach: ${{versions}}
    do:
      cmd: ${{python}} make.py extract ${{key}} ${{layer}}
      deps:
        - data/evals/${{key}}.jsonl
      params:
        - layer
      outs:
        - data/activations/toy/${{key}}/layer_${{layer}}.zarr:
            remote: activations
  summarise:
    cmd: ${{python}} make.py summarise all ${{layer}}
    deps:
      - data/activations/toy/mt/layer_${{layer}}.zarr
      - data/activations/toy/mts/layer_${{layer}}.zarr
    params:
      - layer
    metrics:
      - metrics/summary.json:
          cache: false
"""
PARAMS = """\
layer: 3
versions:
  mt:
    label: high
  mts:
    label: low
"""


REMOTE = "remote: activations\n"
PERSIST = f"{REMOTE}            persist: true\n"
"""`project.edit("dvc.yaml", REMOTE, PERSIST)` keeps stores while a stage runs again."""


class Project:
    """A project in a folder of its own, as one colleague has it."""

    def __init__(self, path, home):
        self.path, self.home = path, home
        home.mkdir(parents=True, exist_ok=True)
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "R2_", "S3_"))},
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",  # `dvc queue start` calls `dvc`
            "HOME": str(home),
            "DVC_SITE_CACHE_DIR": str(home / "site"),
            "GIT_CONFIG_GLOBAL": os.devnull,
            **{f"GIT_{who}_{what}": "t@t" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
        }

    def start(self, program, *arguments):
        log = self.home / f"{len(list(self.home.glob('*.log')))}.log"
        return Command(program, arguments, self.path, self.environment, log)

    def dvc(self, *arguments, check=True, program="dvc"):
        done = self.start(program, *arguments).wait()
        if check and done.returncode:
            raise AssertionError(f"{done.name} ended with {done.returncode}\n{done.output}")
        return done

    def mup(self, *arguments, check=True):
        return self.dvc(*arguments, check=check, program="mup")

    def git(self, *arguments):
        done = subprocess.run(
            ["git", *arguments], cwd=self.path, env=self.environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise AssertionError(f"git {' '.join(arguments)} ended with {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def commit(self, message):
        self.git("add", "-A")
        self.git("commit", "-qm", message)

    def use(self, server, buckets, *, key_id=KEY_ID, secret=SECRET):
        """Fill in .env for a server."""
        lines = {
            "R2_ACCESS_KEY_ID": key_id,
            "R2_SECRET_ACCESS_KEY": secret,
            "R2_DATASETS_BUCKET": buckets[0],
            "R2_ACTIVATIONS_BUCKET": buckets[1],
            **server.environment,
        }
        (self.path / ".env").write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
        return self

    def edit(self, name, old, new):
        path = self.path / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def files(self):
        """Path -> bytes of everything below data/."""
        root = self.path / "data"
        return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}

    def is_clean(self):
        return self.dvc("status").output.strip().endswith("Data and pipelines are up to date.")


def stages_run(output):
    """Names of the stages that a `dvc repro` ran, not those it took from the run cache."""
    return {line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")}


def make_project(folder):
    """A project after its first `dvc repro`, committed."""
    path = folder / "project"
    (path / ".dvc").mkdir(parents=True)
    for name in (".dvc/config", ".dvc/aws.conf", ".dvc/.gitignore", ".dvcignore", ".gitignore"):
        shutil.copy(ROOT / name, path / name)
    for name, text in (("make.py", MAKE), ("dvc.yaml", DVC_YAML), ("params.yaml", PARAMS)):
        (path / name).write_text(text)
    project = Project(path, folder / "home")
    project.git("init", "-q", "-b", "main")
    project.commit("start")
    project.dvc("repro", "-q")
    project.commit("results")
    return project


def copy_project(project, folder):
    """The same project elsewhere, cache included."""
    shutil.copytree(project.path, folder / "a", symlinks=True)
    return Project(folder / "a", folder / "home-a")


def clone(project, folder):
    """What a colleague has after `git clone`: no data, no cache, no configuration."""
    other = Project(folder, folder.with_name(f"home-{folder.name}"))
    project.git("clone", "-q", str(project.path), str(folder))
    if (project.path / ".env").exists():
        shutil.copy(project.path / ".env", folder / ".env")
    return other
