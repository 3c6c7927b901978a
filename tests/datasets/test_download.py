import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from models_under_pressure.core.errors import UserError
from models_under_pressure.datasets.origins import download

CONTENT = bytes(range(256)) * 4000
HASH = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves CONTENT; `/cut` breaks off after a third of what is left, `/busy` answers 503 once."""

    requests: list
    busy = True
    version = ""

    def do_GET(self):
        start = int(self.headers.get("Range", "bytes=0-")[6:-1])
        if self.headers.get("If-Range", Handler.version) != Handler.version:
            start = 0
        self.requests.append((self.path, start))
        if self.path == "/none":
            self.send_error(404)
            return
        if self.path == "/busy" and Handler.busy:
            Handler.busy = False
            self.send_error(503)
            return
        if start >= len(CONTENT):
            self.send_error(416)
            return
        body = CONTENT[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        if Handler.version:
            self.send_header("ETag", Handler.version)
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if self.path == "/cut" and len(self.requests) < 4 else body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    Handler.requests, Handler.busy, Handler.version = [], True, ""
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=httpd.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    httpd.server_close()


def test_a_download_is_verified_and_leaves_one_file(server, tmp_path):
    assert download(f"{server}/file", tmp_path / "a" / "f", sha256=HASH, pause=0) == HASH
    assert (tmp_path / "a" / "f").read_bytes() == CONTENT
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["f"]


def test_a_cut_download_goes_on_where_it_stopped(server, tmp_path):
    download(f"{server}/cut", tmp_path / "f", sha256=HASH, pause=0)
    starts = [start for _, start in Handler.requests]
    assert starts[0] == 0
    assert starts == sorted(set(starts))
    assert starts[1] > 0


def test_a_partial_file_of_an_earlier_run_is_used(server, tmp_path):
    (tmp_path / "f.part").write_bytes(CONTENT[:1000])
    download(f"{server}/file", tmp_path / "f", sha256=HASH, pause=0)
    assert Handler.requests == [("/file", 1000)]
    (tmp_path / "f.part").write_bytes(CONTENT)
    download(f"{server}/file", tmp_path / "f", sha256=HASH, pause=0)


def test_a_part_of_an_unpinned_file_is_continued_only_if_the_server_still_has_that_version(server, tmp_path):
    (tmp_path / "f.part").write_bytes(b"x" * 1000)
    download(f"{server}/file", tmp_path / "f", sha256=None, pause=0)
    assert Handler.requests == [("/file", 0)]
    Handler.version = '"2"'
    (tmp_path / "f.part").write_bytes(b"x" * 1000)
    (tmp_path / "f.part.etag").write_text('"1"')
    assert download(f"{server}/file", tmp_path / "f", sha256=None, pause=0) == HASH
    (tmp_path / "f.part").write_bytes(CONTENT[:1000])
    (tmp_path / "f.part.etag").write_text('"2"')
    assert download(f"{server}/file", tmp_path / "f", sha256=None, pause=0) == HASH
    assert Handler.requests[1:] == [("/file", 0), ("/file", 1000)]
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_a_busy_server_is_asked_again(server, tmp_path):
    assert download(f"{server}/busy", tmp_path / "f", sha256=None, pause=0) == HASH


def test_changed_content_is_refused_and_the_old_file_stays(server, tmp_path):
    (tmp_path / "f").write_text("old")
    with pytest.raises(UserError, match=f"content has sha256 {HASH}, but 00 is pinned"):
        download(f"{server}/file", tmp_path / "f", sha256="00")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_a_missing_file_is_one_clear_error(server, tmp_path):
    with pytest.raises(UserError, match=r"/none: the server answered 404"):
        download(f"{server}/none", tmp_path / "f", sha256=None, pause=0)
    assert list(tmp_path.iterdir()) == []


def test_an_unreachable_server_says_how_to_go_on(tmp_path):
    with pytest.raises(UserError, match="goes on where it stopped"):
        download("http://127.0.0.1:9/file", tmp_path / "f", sha256=None, pause=0)
