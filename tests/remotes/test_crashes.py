"""`kill -9` at random moments of the project's own `dvc repro` changes nothing but the time it takes."""

import contextlib
import importlib.util
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from remote_projects import LAYER

from models_under_pressure.files import atomic_path

KILLS = 20
LEFT_OUT = (
    "fetch_deployment",
    "label_deployment",
    "describe",
    "text_baseline",
    "finetune_baseline",
    "score_finetuned",
    "prompt_baseline",
    "plot",
    "report",
    "compare_probes",
    "extract_layers",
    "choose_layer",
    "train_on_dev",
    "measure_data_efficiency",
    "measure_finetuning",
    "measure_generalisation",
    "cascade",
    "present_experiments",
)
"""Stages that take long and write as the others do; what is left goes from download to metrics."""
PIPELINE = Path(__file__).parents[1] / "pipeline/conftest.py"


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """The project's spine with a tiny model and few datasets, in git, not yet run."""
    spec = importlib.util.spec_from_file_location("pipeline_repository", PIPELINE)
    pipeline = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pipeline)
    pipeline.KEPT = ("mt", "aya")
    tmp = tmp_path_factory.mktemp("crashes")
    pipeline.save_tiny_model(tmp / "model")
    repository = pipeline.make_repository(tmp / "start", tmp)
    pipeline.shrink(repository, tmp / "model")
    repository.edit("dvc.yaml", keep_the_spine)
    repository.edit("params.yaml", work_briefly)
    repository.run("git", "init", "-q", "-b", "main")
    repository.commit("start")
    return repository


def keep_the_spine(content):
    for name in LEFT_OUT:
        del content["stages"][name]


def work_briefly(content):
    content["train"]["probes"]["attention"] |= {"epochs": 2, "patience": 1}
    content["evaluate"] |= {"methods": {"probes": None}, "resamples": 100}


def copy_of(repository, name):
    """A clone, which shares no data with the first."""
    path = repository.path.with_name(name)
    repository.run("git", "clone", "-q", str(repository.path), str(path))
    environment = {**repository.environment, "DVC_SITE_CACHE_DIR": str(path.with_name(f"site-{name}"))}
    environment["MUP_LEDGER"] = str(path.with_name(f"ledger-{name}.sqlite"))
    return type(repository)(path, environment)


def results(repository):
    """What git tracks of a run."""
    tracked = [repository.path / "dvc.lock"]
    for folder in ("metrics", "plots"):
        tracked += sorted((repository.path / folder).rglob("*.json"))
    return {path.relative_to(repository.path).as_posix(): path.read_text() for path in tracked}


def kill_after(repository, seconds, *, stage_too):
    """Start `dvc repro` and kill it with or without the stage that runs; whether it was still running."""
    process = subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro", "-q"],
        cwd=repository.path,
        env=repository.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    running = process.poll() is None
    if stage_too:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()
    return running


def test_what_a_killed_writer_leaves_in_a_folder_changes_no_hash(project):
    """DVC's own temporary files (its links and copies), and those of this package."""
    store = project.path / LAYER.format(dataset="mt", layer=3)
    (store / ".p9t1jZcj2xYEKOIbRdXMqg.tmp").touch()
    with atomic_path(store / "c9") as temporary:
        temporary.write_text("half")
        assert project.is_clean()
    (store / "c9").touch()
    assert not project.is_clean(), "a file that counts does"


@pytest.mark.slow
def test_twenty_kills_change_nothing(repository):
    undisturbed = copy_of(repository, "undisturbed")
    start = time.monotonic()
    undisturbed.dvc("repro", "-q")
    whole = time.monotonic() - start
    victim, draw, hit = copy_of(repository, "victim"), random.Random(0), 0
    for number in range(KILLS):
        hit += kill_after(victim, draw.uniform(0.02, 0.15) * whole, stage_too=number % 2 == 0)
    done = victim.dvc("repro")
    assert hit > KILLS // 2, "the kills fell into the run"
    assert results(victim) == results(undisturbed), done.stdout
    assert victim.dvc("status").stdout.strip() == "Data and pipelines are up to date."
    assert victim.run("git", "status", "--porcelain").stdout == undisturbed.run("git", "status", "--porcelain").stdout
