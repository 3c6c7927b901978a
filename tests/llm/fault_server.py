"""A chat endpoint on loopback that does what it is told: answer, refuse, fail, cut the line, hang."""

import json
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

GOOD = {"explanation": "because", "stakes": 7}
FAIL_BATCH_LINE = "batch fails"
"""A message with these words gets an error inside a batch, and an answer outside."""


@dataclass(frozen=True)
class Act:
    """What the server does with one request."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    """None is a good answer."""
    cut: str = ""
    """`before` the response or `inside` it the connection is reset."""
    delay: float = 0.0
    """Seconds before the response."""
    trickle: float = 0.0
    """Seconds of white space, byte by byte, in the place of a body."""


def completion(content: str | None = None, *, finish="stop", refusal=None, model="gpt-4o-2024-08-06", usage=True):
    body: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [
            {
                "index": 0,
                "finish_reason": finish,
                "message": {"role": "assistant", "content": content, "refusal": refusal},
            }
        ],
    }
    if usage:
        body["usage"] = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
    return json.dumps(body).encode()


def answer(**changes) -> Act:
    return Act(body=completion(json.dumps(GOOD | changes)))


def error(status: int, code: str = "some_code", **headers: str) -> Act:
    body = {"error": {"message": f"no: {code}", "type": "error", "code": code}}
    return Act(status, {name.replace("_", "-"): value for name, value in headers.items()}, json.dumps(body).encode())


REFUSAL = Act(body=completion(None, refusal="I cannot help with that."))
TRUNCATED = Act(body=completion('{"explanation": "bec', finish="length"))
FILTERED = Act(body=completion("", finish="content_filter"))
NOT_JSON_REPLY = Act(body=completion("Sure! Here you are"))
ROUTER_ERROR = Act(body=json.dumps({"error": {"code": 502, "message": "host down"}}).encode())
HTML = Act(body=b"<html>gateway</html>")


@dataclass(frozen=True)
class Seen:
    """One request that arrived."""

    row: str
    at: float
    body: dict[str, Any]
    headers: dict[str, str]


class FaultServer:
    """`plan(row, attempt)` says what to do; `row` is the word after `row` in the question."""

    def __init__(self, plan: Callable[[str, int], Act] = lambda row, attempt: Act(), *, latency: float = 0.0) -> None:
        self.plan, self.latency = plan, latency
        self.seen: list[Seen] = []
        self.peak = 0
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.batch_looks = 2
        """How often a batch is looked at before it is completed."""
        self._now = 0
        self._open = 0
        self._lock = threading.Lock()
        self._attempts: Counter[str] = Counter()
        handler = type("Handler", (_Handler,), {"owner": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._http.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    @property
    def rows(self) -> Counter[str]:
        """Requests per row."""
        return Counter(seen.row for seen in self.seen)

    def __enter__(self):
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._http.shutdown()
        self._http.server_close()

    def arrive(self, body: dict[str, Any], headers: dict[str, str]) -> Act:
        asked = " ".join(message["content"] or "" for message in body["messages"] if message["role"] == "user")
        row = re.search(r"row (\S+)", asked)
        name = row.group(1) if row else "?"
        with self._lock:
            self.seen.append(Seen(name, time.monotonic(), body, headers))
            self._attempts[name] += 1
            attempt = self._attempts[name]
            self._now += 1
            self.peak = max(self.peak, self._now)
        return self.plan(name, attempt)

    def connected(self, change: int) -> None:
        with self._lock:
            self._open += change

    def wait_until_quiet(self) -> None:
        """Wait until everything that a killed client had sent is read, and its connections are closed."""
        quiet_since = time.monotonic()
        while time.monotonic() - quiet_since < 0.3:
            time.sleep(0.02)
            if self._open:
                quiet_since = time.monotonic()

    def leave(self) -> None:
        with self._lock:
            self._now -= 1

    def create_batch(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            lines = [json.loads(line) for line in self.files[request["input_file_id"]].splitlines()]
            name = f"batch_{len(self.batches)}"
            output = b""
            for line in lines:
                fails = FAIL_BATCH_LINE in line["body"]["messages"][-1]["content"]
                response = {"status_code": 500, "body": {}} if fails else {"status_code": 200, "body": None}
                if not fails:
                    response["body"] = json.loads(completion(json.dumps(GOOD)))
                output += json.dumps({"custom_id": line["custom_id"], "response": response, "error": None}).encode()
                output += b"\n"
            self.files[f"out_{name}"] = output
            self.batches[name] = {
                "id": name,
                "object": "batch",
                "completion_window": "24h",
                "created_at": 1,
                "endpoint": request["endpoint"],
                "input_file_id": request["input_file_id"],
                "status": "in_progress",
                "metadata": request.get("metadata"),
                "request_counts": {"total": len(lines), "completed": 0, "failed": 0},
                "looks": 0,
            }
            return self.batches[name]

    def look(self, name: str) -> dict[str, Any]:
        with self._lock:
            batch = self.batches[name]
            batch["looks"] += 1
            if batch["looks"] >= self.batch_looks:
                batch.update(status="completed", output_file_id=f"out_{name}")
                batch["request_counts"]["completed"] = batch["request_counts"]["total"]
            return batch


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: FaultServer

    def setup(self):
        self.owner.connected(1)
        super().setup()

    def finish(self):
        super().finish()
        self.owner.connected(-1)

    def do_POST(self):
        raw = self.rfile.read(int(self.headers["content-length"]))
        if self.path.endswith("/chat/completions"):
            body = json.loads(raw)
            act = self.owner.arrive(body, dict(self.headers))
            try:
                time.sleep(self.owner.latency + act.delay)
                self._do(act)
            except OSError:  # the client gave up
                self.close_connection = True
            finally:
                self.owner.leave()
        elif self.path.endswith("/files"):
            name = f"file_{len(self.owner.files)}"
            self.owner.files[name] = _uploaded(raw)
            self._send(
                200,
                {
                    "id": name,
                    "object": "file",
                    "bytes": len(raw),
                    "created_at": 1,
                    "filename": "requests.jsonl",
                    "purpose": "batch",
                    "status": "processed",
                },
            )
        else:
            self._send(200, self.owner.create_batch(json.loads(raw)))

    def do_GET(self):
        parts = self.path.split("?")[0].strip("/").split("/")
        if parts[-1] == "content":
            self._write(200, {}, self.owner.files[parts[-2]])
        elif parts[-1] == "batches":
            self._send(200, {"object": "list", "data": list(self.owner.batches.values())[::-1], "has_more": False})
        else:
            self._send(200, self.owner.look(parts[-1]))

    def _do(self, act: Act) -> None:
        if act.cut:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if act.cut == "inside":
                self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{")
                self.wfile.flush()
                time.sleep(0.02)
            self.close_connection = True
            self.connection.close()
        elif act.trickle:
            self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n")
            end = time.monotonic() + act.trickle
            while time.monotonic() < end:
                self.wfile.write(b" ")
                time.sleep(0.02)
            self.close_connection = True
        else:
            self._write(act.status, act.headers, answer().body if act.body is None else act.body)

    def _send(self, status: int, body: dict[str, Any]) -> None:
        self._write(status, {}, json.dumps(body).encode())

    def _write(self, status: int, headers: dict[str, str], body: bytes) -> None:
        lines = [f"HTTP/1.1 {status} x", "content-type: application/json", f"content-length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.wfile.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)  # one segment: no delayed ACK

    def log_message(self, format, *args):
        pass


def _uploaded(raw: bytes) -> bytes:
    """The file inside a multipart form."""
    boundary = raw.split(b"\r\n", 1)[0]
    part = next(part for part in raw.split(boundary) if b'name="file"' in part)
    return part.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n")


def says(content, **changes):
    """A good response around a text."""
    return Act(body=completion(content, **changes))


def failing(status, body, **headers):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Act(status, {name.replace("_", "-"): value for name, value in headers.items()}, raw)


def message(**changes):
    """A response whose message is of another form."""
    body = json.loads(completion("text"))
    body["choices"][0]["message"] = changes
    return Act(body=json.dumps(body).encode())
