"""What `kill -9` leaves of DVC's files is named with its remedy, and loses nothing; see pipeline/test_kills.py."""

import pytest
from remote_projects import LAYER, stages_run

from models_under_pressure.core.files import atomic_path

pytestmark = pytest.mark.slow


def test_what_a_killed_writer_leaves_in_a_folder_changes_no_hash(project):
    """DVC's own temporary files (its links and copies), and those of this package."""
    store = project.path / LAYER.format(dataset="mt", layer=3)
    (store / ".p9t1jZcj2xYEKOIbRdXMqg.tmp").touch()
    with atomic_path(store / "c9") as temporary:
        temporary.write_text("half")
        assert project.is_clean()
    (store / "c9").touch()
    assert not project.is_clean(), "a file that counts does"


OUTPUT = "outs:\n    - path: data/evals/mts.jsonl\n"
HASH = OUTPUT + "      hash: m"


@pytest.mark.parametrize(
    "last",
    [
        "",
        "sch",
        "mts:\n",
        "deps:\n",
        "make.py\n",
        "make.py\n      hash: m",
        OUTPUT,
        HASH,
        HASH + "d5\n",
        HASH + "d5\n      md5: d",
    ],
)
def test_a_dvc_lock_that_was_cut_is_named_and_loses_nothing(project, last):
    """DVC writes it in place, here as far as this; the run cache has what was finished."""
    lock = project.path / "dvc.lock"
    whole = lock.read_text()
    lock.write_text(whole[: whole.index(last) + len(last)])
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
