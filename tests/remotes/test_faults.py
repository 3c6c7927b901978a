"""Networks and servers fail: nothing is lost, nothing half-finished passes for finished."""

import hashlib

import pytest
from remote_projects import LAYER, clone

pytestmark = pytest.mark.slow

PARTS = 6
"""Files of the two layers."""


def attach(project, proxy, buckets):
    """Point a project at a server behind a proxy."""
    for bucket in buckets:
        proxy.server.make_bucket(bucket)
    project.environment["AWS_MAX_ATTEMPTS"] = "2"  # the default waits for minutes; what is tested is the same
    project.use(proxy, buckets)
    project.mup("remote", "r2", "--offline")
    return project


def colleague(project, folder):
    b = clone(project, folder)
    b.environment["AWS_MAX_ATTEMPTS"] = "2"
    b.mup("remote", "r2", "--offline")
    return b


def assert_whole(contents):
    """Every file has the content that its name, the hash, promises."""
    for key, content in contents.items():
        first, rest = key.split("/")[-2:]
        assert hashlib.md5(content).hexdigest() == (first + rest).removesuffix(".dir"), key


def cached(project):
    root = project.path / ".dvc/cache/files/md5"
    files = (path for path in root.glob("*/*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files if len(path.stem) == 30}


def kill_at(proxy, command, method, number):
    """Kill a command while a request of its is under way."""
    before = proxy.count(method)
    proxy.released.clear()
    proxy.faults = [(method, "pass")] * (number - 1) + [(method, "hold")]
    command.wait_until(lambda: not proxy.faults)
    command.kill()
    assert proxy.count(method) - before == number
    proxy.released.set()


def stored(proxy, bucket):
    return {key: content for key, content in proxy.server.objects(bucket).items() if "/files/md5/" in key}


def test_bursts_of_errors_cut_connections_and_late_answers_are_survived(project, any_proxy, buckets, tmp_path):
    a = attach(project, any_proxy, buckets)
    any_proxy.faults = [("PUT", "503"), ("PUT", "cut"), ("PUT", "late"), ("PUT", "503")]
    a.dvc("push")
    assert not any_proxy.faults
    b = colleague(a, tmp_path / "b")
    any_proxy.faults = [("GET", "503"), ("GET", "truncate"), ("GET", "cut"), ("GET", "late")]
    b.dvc("pull")
    assert not any_proxy.faults
    assert b.files() == a.files()
    assert b.is_clean()


def test_a_server_that_dies_during_a_push(project, proxy, buckets, tmp_path):
    a = attach(project, proxy, buckets)
    proxy.faults = [("PUT", "pass"), ("PUT", "pass"), ("PUT", "pass"), ("PUT", "kill")]
    failed = a.dvc("push", check=False)
    assert failed.returncode != 0
    assert "connect" in failed.output.lower()
    proxy.server.start()
    for bucket in buckets:
        assert_whole(stored(proxy, bucket))
    b = colleague(a, tmp_path / "b")
    assert b.dvc("pull", check=False).returncode != 0
    assert not b.is_clean()
    status = a.mup("remote", "status").output
    assert "not on their remote yet: `dvc push`" in status
    kept, before = sum(len(stored(proxy, bucket)) for bucket in buckets), proxy.count("PUT")
    a.dvc("push")
    assert proxy.count("PUT") - before <= 8 - min(kept, 3), "what had arrived is not sent again"
    b.dvc("pull")
    assert b.files() == a.files()
    assert b.is_clean()


def test_a_server_that_dies_during_a_pull(project, proxy, buckets, tmp_path):
    a = attach(project, proxy, buckets)
    a.dvc("push")
    b = colleague(a, tmp_path / "b")
    proxy.faults = [("GET", "pass"), ("GET", "pass"), ("GET", "pass"), ("GET", "kill")]
    failed = b.dvc("pull", check=False)
    assert failed.returncode != 0
    assert_whole(cached(b))
    assert not b.is_clean()
    proxy.server.start()
    kept = len(cached(b))
    assert kept >= 2
    before = proxy.count("GET")
    b.dvc("pull")
    assert proxy.count("GET") - before <= PARTS + 2 - kept + 2, "what had arrived is not fetched again"
    assert b.files() == a.files()
    assert b.is_clean()


def test_a_client_that_is_killed_during_push_and_pull(project, proxy, buckets, tmp_path):
    a = attach(project, proxy, buckets)
    kill_at(proxy, a.start("dvc", "push", "-j", "1"), "PUT", 3)
    for bucket in buckets:
        assert_whole(stored(proxy, bucket))
    a.dvc("push")
    b = colleague(a, tmp_path / "b")
    kill_at(proxy, b.start("dvc", "pull", "-j", "1"), "GET", 4)
    assert_whole(cached(b))
    b.dvc("pull")
    assert b.files() == a.files()
    assert b.is_clean()


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda content: content[:1000], id="truncated"),
        pytest.param(lambda content: bytes(len(content)), id="overwritten"),
    ],
)
def test_a_damaged_file_on_the_remote_is_refused_found_and_mended(project, rclone, buckets, tmp_path, damage):
    for bucket in buckets:
        rclone.make_bucket(bucket)
    project.use(rclone, buckets)
    project.mup("remote", "r2", "--offline")
    project.dvc("push")
    key, content = max(rclone.objects(buckets[1]).items(), key=lambda item: len(item[1]))
    rclone.put(buckets[1], key, damage(content))
    b = clone(project, tmp_path / "b")
    b.mup("remote", "r2", "--offline")
    failed = b.dvc("pull", check=False)
    assert failed.returncode != 0, "DVC alone takes the damaged file for good"
    assert_whole(cached(b))
    (file,) = [name for name, data in project.files().items() if data == content]
    path = f"data/{file.rpartition('/')[0]}"
    assert path in failed.output.partition("Checkout failed")[2]
    status = project.mup("remote", "status", check=False)
    found = f"damaged: {path}" in status.output
    assert found == (status.returncode == 1) == (len(damage(content)) != len(content))
    mended = project.mup("remote", "repair", *([] if found else [path]))
    assert mended.output.strip() == f"uploaded {path} to activations"
    b.dvc("pull")
    assert b.files() == project.files()


def test_a_bucket_that_was_emptied_is_filled_again(project, server, buckets):
    for bucket in buckets:
        server.make_bucket(bucket)
    project.use(server, buckets)
    project.mup("remote", "r2", "--offline")
    project.dvc("push")
    before = [server.objects(bucket) for bucket in buckets]
    for bucket in buckets:
        server.empty(bucket)
    project.dvc("push")
    assert [server.objects(bucket) for bucket in buckets] == before


def test_what_is_nowhere_is_reported_as_lost(project, rclone, buckets, tmp_path):
    for bucket in buckets:
        rclone.make_bucket(bucket)
    project.use(rclone, buckets)
    b = clone(project, tmp_path / "b")
    b.mup("remote", "r2", "--offline")
    assert "Everything is up to date" in b.dvc("push").output, "DVC ends with status 0"
    status = b.mup("remote", "status", check=False)
    assert status.returncode == 1
    assert f"lost: {LAYER.format(dataset='mt', layer=3)}" in status.output
    refused = b.mup("remote", "repair", "data/evals/mt.jsonl", check=False)
    assert refused.returncode == 1
    assert "not whole in this machine's cache" in refused.output
