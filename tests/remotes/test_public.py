"""A reviewer reads without keys."""

import contextlib
import functools
import http.server
import ssl
import threading

import pytest
from remote_projects import clone, stages_run
from remote_servers import FaultProxy, Rclone

pytestmark = pytest.mark.slow


@pytest.fixture
def pushed(project, rclone, buckets):
    """The project after its push."""
    for bucket in buckets:
        rclone.make_bucket(bucket)
    project.use(rclone, buckets)
    project.mup("remote", "r2", "--offline")
    project.dvc("push")
    return project


@contextlib.contextmanager
def web_server(folder, certificate):
    """A plain https server of files: no listing of S3, no keys, as a public bucket behind a domain."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"https://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def reviewer(pushed, folder, certificate):
    b = clone(pushed, folder)
    (b.path / ".env").write_text(f"AWS_CA_BUNDLE={certificate[0]}\n")
    return b


def test_results_are_read_over_https(pushed, rclone, certificate, buckets, tmp_path):
    with web_server(rclone.folder, certificate) as address:
        b = reviewer(pushed, tmp_path / "b", certificate)
        urls = [f"{address}/{bucket}/dvc" for bucket in buckets]
        shown = b.mup("remote", "public", *urls).output
        assert f"{urls[1]} has what dvc.lock names" in shown
        b.dvc("pull")
        assert b.files() == pushed.files()
        assert b.is_clean()
        assert stages_run(b.dvc("repro").output) == set()
        assert "safe there" in b.mup("remote", "status").output
        wrong = b.mup("remote", "public", f"{address}/{buckets[1]}/dvc", urls[1], check=False)
        assert wrong.returncode == 1
        assert "answers 404 for a file of dvc.lock" in wrong.output


@pytest.fixture
def public(rclone, certificate, tmp_path):
    """The same buckets without keys; writing is refused."""
    server = Rclone(tmp_path, certificate, share=rclone.folder)
    proxy = FaultProxy(server)
    proxy.faults = [("PUT", "403")] * 100
    yield proxy
    proxy.close()
    server.kill()


def test_results_are_read_from_an_anonymous_bucket_and_nothing_is_written(
    pushed, rclone, public, certificate, buckets, tmp_path
):
    b = reviewer(pushed, tmp_path / "b", certificate)
    with (b.path / ".env").open("a") as stream:
        stream.write(f"S3_ENDPOINT_URL={public.environment['R2_ENDPOINT_URL']}\n")
    b.mup("remote", "public", *(f"s3://{bucket}/dvc" for bucket in buckets))
    b.dvc("pull")
    assert b.files() == pushed.files()
    assert b.is_clean()
    b.edit("params.yaml", "layer: 3", "layer: 4")
    b.dvc("repro")
    before = [set(rclone.objects(bucket)) for bucket in buckets]
    refused = b.dvc("push", check=False)
    assert refused.returncode != 0
    assert "Forbidden" in refused.output or "denied" in refused.output.lower()
    assert [set(rclone.objects(bucket)) for bucket in buckets] == before
