"""`kill -9` at random moments of the project's own `dvc repro` changes nothing but the time it takes."""

import contextlib
import os
import queue
import random
import signal
import subprocess
import threading
import time

import pytest
from ruamel.yaml import YAML
from warm_python import WITH_CHILDREN, warm_python

pytestmark = pytest.mark.slow

KILLED_IN = {
    "fetch@mt",
    "parse@aya",
    "synthesise",
    "relabel@aya_mar_25",
    "relabel@mt_apr_30",
    "label_deployment",
    "check_overlap",
    "use_datasets",
    "describe",
    "extract",
    "train@attention",
    "score_probes",
    "evaluate",
    "plot",
    *(
        f"experiments/dvc.yaml:{name}"
        for name in (
            "finetune_baseline@smollm2",
            "prompt_baseline@smollm2",
            "extract_layers",
            "compare_probes",
            "train_on_dev",
            "present_experiments",
        )
    ),
}
"""Stages of every kind, from the download to the figures."""
LOCKS = ("dvc.lock", "experiments/dvc.lock")


@pytest.fixture
def victim(finished, tmp_path):
    """The project as it was before its first run, in another folder; it shares no data, ledger or stores with the
    finished one, and its Python has another seed of hashes."""
    finished.run("git", "clone", "-q", str(finished.path), str(tmp_path / "victim"))
    own = {name: str(tmp_path / name) for name in ("DVC_SITE_CACHE_DIR", "MUP_LEDGER", "MUP_STORES")}
    with warm_python() as path:
        victim = type(finished)(tmp_path / "victim", finished.environment | own | {"PATH": path})
        victim.run("git", "reset", "-q", "--hard", "HEAD~1")
        yield victim


def start_repro(repository, *, stage_too):
    """`dvc repro` of both pipelines, at the head of a process group; what it prints can be read."""
    with_children = {WITH_CHILDREN: "1"} if stage_too else {}
    return subprocess.Popen(
        ["python", "-m", "dvc", "repro", "-P"],
        cwd=repository.path,
        env=repository.environment | with_children | {"PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


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


def results(repository):
    """What git tracks of a run. The order of entries in a lock is that in which they were made, or found again."""
    files = [
        file for folder in ("metrics", "plots") for file in (repository.path / folder).rglob("*") if file.is_file()
    ]
    read = {file.relative_to(repository.path).as_posix(): file.read_bytes() for file in files}
    return read | {lock: YAML(typ="safe").load((repository.path / lock).read_text()) for lock in LOCKS}


def stage_of(line):
    """The stage that DVC says it begins, or None."""
    return line.split("'")[1] if line.startswith("Running stage '") else None


def read_lines(stream):
    """A queue of the lines, the last of which is None, and the thread that reads them until all who write are gone."""
    found = queue.Queue()

    def read():
        for line in stream:
            found.put(line)
        found.put(None)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    return found, reader


def wait(lines, seconds):
    """Sleep, but not beyond the beginning of another stage: how many a second holds depends on the machine."""
    end = time.monotonic() + seconds
    with contextlib.suppress(queue.Empty):
        while (left := end - time.monotonic()) > 0:
            line = lines.get(timeout=left)
            if line is None or stage_of(line):
                return


def test_twenty_kills_on_the_way_from_the_download_to_the_figures_change_nothing(finished, victim):
    """Each in another stage, or while DVC stores what that made: the same hashes as one undisturbed run elsewhere."""
    draw, waiting, hit = random.Random(0), set(KILLED_IN), 0
    while waiting:
        stage_too = len(waiting) % 2 == 0
        process = start_repro(victim, stage_too=stage_too)
        (lines, reader), printed = read_lines(process.stdout), []
        while (line := lines.get()) is not None:
            printed.append(line)
            if (name := stage_of(line)) in waiting:
                waiting.remove(name)
                wait(lines, 10 ** draw.uniform(-2, 0.3))
                hit += kill(process, stage_too=stage_too)
                reader.join()  # DVC removes folders that a stage left behind may write to
                mend(victim)
                break
        else:
            break
    done = victim.dvc("repro", "-P")
    assert not waiting, f"never begun: {waiting}\n{''.join(printed)}"
    assert hit > len(KILLED_IN) // 2, "the kills fell into the run"
    assert results(victim) == results(finished), done.stdout
    assert victim.dvc("status").stdout.strip() == "Data and pipelines are up to date."
