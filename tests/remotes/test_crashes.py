"""`kill -9` at random moments of the project's own `dvc repro` changes nothing but the time it takes."""

import contextlib
import importlib.util
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from remote_projects import LAYER, stages_run
from ruamel.yaml import YAML

from models_under_pressure.core.files import atomic_path

KILLS = 20
SPINE = ("describe", "label_deployment", "score_probes")
"""What these stages need goes from the download to the scores of the probes."""
LATER = tuple(
    f"experiments/dvc.yaml:{name}"
    for name in (
        "finetune_baseline@smollm2",
        "prompt_baseline@smollm2",
        "extract_layers",
        "compare_probes",
        "train_on_dev",
    )
)
"""Stages of every kind that come after it."""
LOCKS = ("dvc.lock", "experiments/dvc.lock")
PIPELINE = Path(__file__).parents[1] / "pipeline/conftest.py"


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """The whole project with a tiny model and few datasets, in git, not yet run."""
    spec = importlib.util.spec_from_file_location("pipeline_repository", PIPELINE)
    pipeline = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pipeline)
    pipeline.KEPT = ("mt", "aya")
    tmp = tmp_path_factory.mktemp("crashes")
    pipeline.save_tiny_model(tmp / "model")
    repository = pipeline.make_repository(tmp / "start", tmp)
    pipeline.shrink(repository, tmp / "model")
    repository.edit("params.yaml", work_briefly)
    repository.edit("experiments/params.yaml", finetune_briefly)
    repository.run("git", "init", "-q", "-b", "main")
    repository.commit("start")
    return repository


def work_briefly(content):
    content["train"]["probes"]["attention"] |= {"epochs": 2, "patience": 1}
    content["evaluate"] |= {"resamples": 100}


def finetune_briefly(content):
    content["finetune_baseline"]["models"]["smollm2"] |= {
        "max_tokens": 32,
        "epochs": 1,
        "blocks": 2,
        "trained_blocks": 1,
    }


@dataclass(frozen=True)
class Undisturbed:
    """A run that nothing disturbs."""

    repository: Any
    spine_seconds: float
    spine_lock: Any
    """What dvc.lock says after the spine."""
    seconds: dict[str, float]
    """How long each of the later stages took, from its announcement to the next one's."""
    begun: Path
    """A copy of the folder after the spine."""


@pytest.fixture(scope="module")
def undisturbed(repository):
    own = copy_of(repository, "undisturbed")
    start = time.monotonic()
    own.dvc("repro", "-q", *SPINE)
    spine_seconds, lock = time.monotonic() - start, locked(own)
    begun = own.path.with_name("begun")
    shutil.copytree(own.path, begun, symlinks=True)
    process, starts, printed = start_repro(own, *LATER), [], []
    for name in stages_announced(process, printed):
        starts.append((name, time.monotonic()))
    ends = [begin for _, begin in starts[1:]] + [time.monotonic()]
    assert process.wait() == 0, "".join(printed)
    took = {name: end - begin for (name, begin), end in zip(starts, ends, strict=True)}
    seconds = {name: took[name] for name in LATER}
    return Undisturbed(own, spine_seconds, lock, seconds, begun)


def copy_of(repository, name, *, source=None):
    """A clone, or a copy of a folder; it shares no data with the first, nor ledger or stores."""
    path = repository.path.with_name(name)
    if source:
        shutil.copytree(source, path, symlinks=True)
    else:
        repository.run("git", "clone", "-q", str(repository.path), str(path))
    own = {
        "DVC_SITE_CACHE_DIR": f"site-{name}",
        "MUP_LEDGER": f"ledger-{name}.sqlite",
        "MUP_STORES": f"stores-{name}",
    }
    places = {variable: str(path.with_name(place)) for variable, place in own.items()}
    return type(repository)(path, {**repository.environment, **places, "PYTHONUNBUFFERED": "1"})


def locked(repository):
    """What the locks say: the order of their entries is that in which they were made, or found again after a kill."""
    files = {name: repository.path / name for name in LOCKS}
    return {name: YAML(typ="safe").load(file.read_text()) for name, file in files.items() if file.exists()}


def results(repository):
    """What git tracks of a run."""
    tracked = []
    for folder in ("metrics", "plots"):
        tracked += sorted((repository.path / folder).rglob("*.json"))
    files = {path.relative_to(repository.path).as_posix(): path.read_text() for path in tracked}
    return files | locked(repository)


def start_repro(repository, *targets):
    """`dvc repro`, at the head of a process group; what it prints can be read."""
    return subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro", *targets],
        cwd=repository.path,
        env=repository.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def stages_announced(process, printed):
    """Names of the stages that a `dvc repro` runs, as it begins each; all that it prints goes into a list."""
    for line in process.stdout:
        printed.append(line)
        if line.startswith("Running stage '"):
            yield line.split("'")[1]


def mend(repository):
    """What docs/remotes.md says of the two files that DVC writes in place, where a kill cut them."""
    from models_under_pressure.core.errors import UserError
    from models_under_pressure.remotes.contents import tracked_outputs

    (repository.path / ".dvc/tmp/rwlock").unlink(missing_ok=True)
    for _ in LOCKS:
        try:
            tracked_outputs(root=repository.path)
        except UserError as error:
            assert error.where in LOCKS  # noqa: PT017
            (repository.path / error.where).unlink()


def kill(process, *, stage_too):
    """Kill `dvc repro` with or without the stage that runs; whether it was still running."""
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


@pytest.mark.parametrize("cut", [0, 3, 600, 1203])
def test_a_dvc_lock_that_was_cut_is_named_and_loses_nothing(project, cut):
    """DVC writes it in place; the run cache has what was finished."""
    lock = project.path / "dvc.lock"
    whole = lock.read_text()
    lock.write_text(whole[:cut])
    doctor = project.mup("doctor", "--offline", check=False).output
    broken = project.dvc("repro", check=False)
    if broken.returncode:
        assert "dvc.lock cannot be read: DVC was killed while it wrote the file" in doctor
        assert "`git checkout dvc.lock`, or delete it, then `dvc repro`" in doctor
        lock.unlink()
        broken = project.dvc("repro")
    assert len(stages_run(broken.output)) <= 1, "at most the stage whose entry was cut"
    assert lock.read_text() == whole
    assert project.is_clean()


def test_a_lock_of_dvc_that_was_cut_is_named(project):
    """DVC writes it in place, too; it says which process uses which file, and holds no results."""
    lock = project.path / ".dvc/tmp/rwlock"
    lock.write_text("")
    assert "Unable to read RWLock-file" in project.dvc("repro", "--force", check=False).output
    assert "`rm .dvc/tmp/rwlock`" in project.mup("doctor", "--offline", check=False).output
    lock.unlink()
    project.dvc("repro")
    assert project.is_clean()


@pytest.mark.slow
@pytest.mark.timeout(2400)  # on a busy machine; four minutes of one core, together with the next
def test_twenty_kills_on_the_way_to_the_scores_change_nothing(repository, undisturbed):
    victim, draw, hit = copy_of(repository, "victim"), random.Random(0), 0
    for number in range(KILLS):
        process = start_repro(victim, "-q", *SPINE)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(draw.uniform(0.02, 0.15) * undisturbed.spine_seconds)
        hit += kill(process, stage_too=number % 2 == 0)
        mend(victim)
    done = victim.dvc("repro", *SPINE)
    assert hit > KILLS // 2, "the kills fell into the run"
    assert locked(victim) == undisturbed.spine_lock, done.stdout
    assert victim.dvc("status", *SPINE).stdout.strip() == "Data and pipelines are up to date."


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_a_kill_in_baselines_experiments_and_summaries_changes_nothing(repository, undisturbed):
    """At a random moment of each, or while DVC stores what it made."""
    victim = copy_of(repository, "later victim", source=undisturbed.begun)
    draw, waiting, hit = random.Random(1), dict(undisturbed.seconds), set()
    while waiting:
        process, printed = start_repro(victim, *LATER), []
        for name in stages_announced(process, printed):
            if name in waiting:
                time.sleep(draw.uniform(0, 1.1) * waiting.pop(name))
                if kill(process, stage_too=len(waiting) % 2 == 0):
                    hit.add(name)
                mend(victim)
                break
        else:
            break
    done = victim.dvc("repro", *SPINE, *LATER)
    assert not waiting, f"never begun: {waiting}\n{''.join(printed)}"
    assert len(hit) > len(undisturbed.seconds) // 2, "the kills fell into the run"
    assert results(victim) == results(undisturbed.repository), done.stdout
    assert victim.dvc("status", *SPINE, *LATER).stdout.strip() == "Data and pipelines are up to date."
    changed = [one.run("git", "status", "--porcelain").stdout for one in (victim, undisturbed.repository)]
    assert changed[0] == changed[1]
