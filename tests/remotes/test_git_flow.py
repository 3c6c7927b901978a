"""Branches, queues, tags and caches, as docs/remotes.md describes them."""

import hashlib
import json
import os
import shutil
import time
from pathlib import Path

import pytest
from remote_projects import PERSIST, REMOTE, Project, clone, stages_run

from models_under_pressure.remotes.contents import contents, tracked_outputs
from models_under_pressure.remotes.stores import cache_state, possible_links

pytestmark = pytest.mark.slow

MEMORY = Path("/dev/shm")


def branch(project, name, old, new):
    """A branch with one version changed and run."""
    project.git("checkout", "-q", "-b", name, "main")
    project.edit("params.yaml", old, new)
    project.dvc("repro")
    project.commit(name)


def assert_cache_is_whole(folder):
    """Every file of a cache has the content that its name, the hash, promises."""
    for path in folder.glob("files/md5/*/*"):
        content = hashlib.md5(path.read_bytes()).hexdigest()
        assert content == (path.parent.name + path.name).removesuffix(".dir"), path


def test_branches_that_change_different_versions_conflict_only_in_what_depends_on_both(project):
    branch(project, "one", "label: high", "label: higher")
    branch(project, "two", "label: low", "label: lower")
    with pytest.raises(AssertionError, match="CONFLICT"):
        project.git("merge", "one")
    assert "label: higher" in (project.path / "params.yaml").read_text(), "params.yaml was merged"
    project.git("checkout", "--ours", "dvc.lock", "metrics")
    project.dvc("checkout", "--force")
    assert stages_run(project.dvc("repro").output) == {"summarise"}, "the rest is in the run cache"
    project.commit("both")
    assert project.is_clean()
    both, two, one = (json.loads(project.git("show", f"{name}:metrics/summary.json")) for name in ("@", "@^1", "@^2"))
    assert both == {"mt": one["mt"], "mts": two["mts"]}
    assert one["mt"] != two["mt"]
    assert one["mts"] != two["mts"]


def test_a_conflict_in_dvc_lock_is_resolved_as_documented(project):
    branch(project, "one", "label: high", "label: higher")
    branch(project, "two", "label: high", "label: highest")
    with pytest.raises(AssertionError, match="CONFLICT"):
        project.git("merge", "one")
    (project.path / "params.yaml").write_text(project.git("show", "one:params.yaml"))  # decided by a person
    project.git("checkout", "--theirs", "dvc.lock", "metrics")
    project.dvc("checkout", "--force")
    assert stages_run(project.dvc("repro").output) == set(), "all of it is in the run cache"
    project.commit("one won")
    assert project.is_clean()
    assert project.git("diff", "one", "--", "dvc.lock", "metrics") == ""


def finished_tasks(queue):
    """How many experiments of a queue have ended, as Celery notes it."""
    return sum('"SUCCESS"' in path.read_text() for path in queue.glob("result/celery-task-meta-*"))


def test_queued_experiments_run_in_parallel_workers(project):
    """Two workers, no stage in common; each experiment has the code and the parameters of its own."""
    for layer in (5, 6):
        project.dvc("exp", "run", "--queue", "-n", f"layer-{layer}", "-S", f"layer={layer}")
    started = project.dvc("queue", "start", "-j", "2")
    queue, end = project.path / ".dvc/tmp/exps/celery", time.monotonic() + 120
    while finished_tasks(queue) < 2:
        said = [started.output, *(path.read_text() for path in queue.glob("*.out"))]
        assert time.monotonic() < end, "\n".join([project.dvc("queue", "status").output, *said])
        assert "Traceback" not in started.output, started.output
        time.sleep(0.05)
    project.dvc("queue", "stop")
    shown = project.dvc("exp", "list", "--name-only").output
    assert "layer-5" in shown
    assert "layer-6" in shown
    project.dvc("exp", "apply", "layer-6")
    assert (project.path / "data/activations/toy/mt/layer_6.zarr").is_dir()
    assert stages_run(project.dvc("repro").output) == set()


def test_a_cache_on_another_disk_gives_the_same_results(finished, tmp_path):
    if not MEMORY.is_dir() or MEMORY.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is one disk only")
    b = clone(finished, tmp_path / "b")
    cache = MEMORY / f"cache-{os.getpid()}"
    try:
        b.dvc("cache", "dir", "--local", str(cache))
        b.dvc("repro")
        assert b.is_clean()
        assert b.git("status", "--porcelain") == ""
        assert_cache_is_whole(cache)
        assert not (b.path / ".dvc/cache/files").exists()
        state = cache_state(root=b.path)
        assert "hardlink" not in state.possible
        assert (state.used, state.copies) == ("copy", 2)
    finally:
        shutil.rmtree(cache, ignore_errors=True)


@pytest.mark.parametrize("link", ["hardlink", "symlink"])
@pytest.mark.parametrize("persist", [False, True])
def test_linked_outputs_are_never_written_through(project, link, persist):
    """Run as root, who could: stages that write anew or into what is there leave the cache whole."""
    if persist:
        project.edit("dvc.yaml", REMOTE, PERSIST)
        project.dvc("commit", "--force")
    project.dvc("config", "--local", "cache.type", link)
    project.dvc("checkout", "--relink")
    state = cache_state(root=project.path)
    assert (state.used, state.copies) == (link, 1)
    project.edit("params.yaml", "label: high", "label: other")
    project.dvc("repro")
    project.dvc("repro", "--force")
    assert_cache_is_whole(project.path / ".dvc/cache")
    assert project.is_clean()


def test_the_types_of_link_are_tried_not_assumed(tmp_path):
    assert {"hardlink", "symlink", "copy"} <= set(possible_links(tmp_path, tmp_path))
    if MEMORY.is_dir() and MEMORY.stat().st_dev != tmp_path.stat().st_dev:
        assert set(possible_links(tmp_path, MEMORY)) == {"symlink", "copy"}
    assert list(tmp_path.iterdir()) == [], "what was tried is gone"


def test_garbage_collection_keeps_what_a_tag_names_and_one_without_the_tags_is_seen_by_status(
    project, rclone, buckets, tmp_path
):
    """Of three versions the middle one goes, here and on the remotes; then `dvc gc -w` drops what only a tag names."""
    for bucket in buckets:
        rclone.make_bucket(bucket)
    project.use(rclone, buckets)
    project.mup("remote", "r2", "--offline")
    project.git("tag", "paper")
    for old, new in (("high", "higher"), ("higher", "highest")):
        project.edit("params.yaml", f"label: {old}", f"label: {new}")
        project.dvc("repro")
        project.commit(new)
        project.dvc("push", "--run-cache")
    project.dvc("push", "--all-tags")

    before = [set(rclone.objects(bucket)) for bucket in buckets]
    assert len(tracked_outputs(root=project.path, all_tags=True)) == len(tracked_outputs(root=project.path)) + 2
    project.dvc("gc", "--all-branches", "--all-tags", "--all-experiments", "--force", "--cloud")
    after = [set(rclone.objects(bucket)) for bucket in buckets]
    assert all(new <= old for new, old in zip(after, before, strict=True))
    assert after[0] < before[0], "the version in between is gone"
    assert after[1] < before[1], "and its activations"
    statuses = contents(root=project.path, all_tags=True)
    assert all(status.cached and status.stored == "whole" for status in statuses)
    b = clone(project, tmp_path / "b")
    b.git("checkout", "-q", "paper")
    b.mup("remote", "r2", "--offline")
    b.dvc("pull")
    assert b.is_clean()

    project.dvc("gc", "--workspace", "--force")
    for bucket in buckets:
        rclone.empty(bucket)
    assert project.mup("remote", "status").returncode == 0
    status = project.mup("remote", "status", "--all-tags", check=False)
    assert status.returncode == 1
    assert "lost: data/evals/mt.jsonl" in status.output


def test_a_second_working_tree_can_share_the_cache(project, tmp_path):
    """A second working tree shares nothing but git; its cache can be shared by one setting."""
    project.git("worktree", "add", "-q", str(tmp_path / "tree"), "-b", "tree")
    tree = Project(tmp_path / "tree", tmp_path / "home-tree")
    tree.dvc("cache", "dir", "--local", str(project.path / ".dvc/cache"))
    tree.dvc("checkout")
    assert tree.files() == project.files()
    assert tree.is_clean()
