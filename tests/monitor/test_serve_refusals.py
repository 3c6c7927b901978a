"""What `mup serve` refuses: a stated status and message each, and the next request is answered."""

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import httpx
import pytest
from pydantic import SecretStr
from serve_server import serving

from models_under_pressure.activations.config import ModelConfig
from models_under_pressure.activations.model import load_language_model
from models_under_pressure.core.errors import UserError
from models_under_pressure.monitor.live import Monitor, load_monitor
from models_under_pressure.monitor.serving.run import is_loopback, listen, read_key

ASKED = {"model": "tiny", "messages": [{"role": "user", "content": "a"}], "max_tokens": 2}
CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def monitor(model_folder, probe):
    return Monitor({"a": probe}, load_language_model(ModelConfig(name=str(model_folder), dtype="float32")))


@pytest.fixture(scope="module")
def server(monitor):
    hosts = frozenset({"127.0.0.1", "localhost"})
    with serving(monitor, most_bytes=100_000, seconds=1.0, hosts=hosts) as served:
        yield served


@pytest.fixture(scope="module")
def locked(monitor):
    with serving(monitor, key=SecretStr("gehéim")) as served:
        yield served


def told(answer, status, message):
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert message in error["message"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


def post(server, body=ASKED, **settings):
    return httpx.post(f"{server.url}{CHAT}", **({"json": body} if "content" not in settings else {}), **settings)


JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        (b"{", 400, "not JSON"),
        (b"\xff\xfe\x00", 400, "not JSON"),
        (b'{"temperature": NaN}', 400, "NaN is not a number"),
        (b"[" * 60_000, 400, "nested too deep"),
        (b"[]", 400, "not a JSON object"),
        (b"{}", 400, "model: Field required"),
        (b" " * 100_001, 413, "more than 100000 bytes"),
        (b'{"model":"tiny","messages":[{"role":"user","content":"\\ud800"}]}', 400, "half of a character"),
        (b'{"model":"tiny","messages":[{"role":"ghost","content":"a"}]}', 400, "unknown role 'ghost'"),
        (b'{"model":"tiny","messages":[{"role":"user","content":[{"type":"image_url"}]}]}', 400, "which is no text"),
        (b'{"model":"tiny","messages":[{"role":"user","content":""}]}', 400, "conversation is empty"),
    ],
)
def test_a_bad_body_is_told_what_is_wrong(server, content, status, message):
    told(post(server, content=content, headers=JSON), status, message)
    assert post(server).status_code == 200


def test_an_unknown_model_path_method_and_kind_of_body(server):
    assert told(post(server, ASKED | {"model": "gpt-5"}), 404, "no model 'gpt-5'")["code"] == "model_not_found"
    told(httpx.get(f"{server.url}/v1/models/gpt-5"), 404, "no model")
    told(httpx.get(f"{server.url}/v2"), 404, "Not Found")
    told(httpx.get(f"{server.url}{CHAT}"), 405, "Method Not Allowed")
    told(post(server, content=b"{}", headers={"Content-Type": "text/plain"}), 415, "send JSON")


@pytest.mark.parametrize("stream", [False, True])
def test_a_context_longer_than_the_models(server, stream):
    messages = [{"role": "user", "content": "x" * 3000}]
    error = told(post(server, ASKED | {"messages": messages, "stream": stream}), 400, "the model and the probes read")
    assert error["code"] == "context_length_exceeded"
    rows = httpx.post(f"{server.url}/v1/score", json={"conversations": [{"messages": messages}]}).json()["data"]
    assert "the model and the probes read" in rows[0]["error"]["message"]


def test_a_reply_ends_where_the_models_context_does(server, monitor):
    room = 3
    text = "x" * 1000
    tokens = monitor.generate([_user(text)]).prompt_tokens
    fill = text + "x" * (monitor.longest - room - tokens)
    assert monitor.generate([_user(fill)]).prompt_tokens == monitor.longest - room
    found = post(server, ASKED | {"messages": [{"role": "user", "content": fill}], "max_tokens": 20, "seed": 1}).json()
    assert found["usage"]["completion_tokens"] <= room


def _user(text):
    from models_under_pressure.core.conversation import Message

    return Message("user", text)


def test_a_wrong_key_and_none(locked):
    assert told(post(locked), 401, "MUP_SERVE_KEY")["code"] == "invalid_api_key"
    for header in ("Bearer wrong", "Bearer", "gehéim", "Basic gehéim"):
        told(post(locked, headers={"Authorization": header.encode()}), 401, "wrong key, or none")
        told(httpx.get(f"{locked.url}/metrics", headers={"Authorization": header.encode()}), 401, "wrong key")
    right = {"Authorization": "Bearer gehéim".encode()}
    assert post(locked, headers=right).status_code == 200
    assert httpx.get(f"{locked.url}/healthz").status_code == httpx.get(f"{locked.url}/").status_code == 200


def test_a_name_that_a_web_page_had_lead_here(server):
    told(post(server, headers={"Host": "evil.example"}), 403, "the address that it printed")
    assert post(server, headers={"Host": f"localhost:{server.port}"}).status_code == 200


def test_more_requests_than_fit(monitor, monkeypatch):
    monkeypatch.setattr(monitor.model.model.generation_config, "eos_token_id", None)  # a reply without end
    with serving(monitor, at_once=1, waiting=0, most_tokens=1500) as server, httpx.Client(timeout=60) as client:
        body = ASKED | {"max_tokens": 1500, "stream": True, "temperature": 0, "scores": True}
        with client.stream("POST", f"{server.url}{CHAT}", json=body) as stream:
            lines = stream.iter_lines()  # kept: to drop it is to leave
            next(lines)
            answer = post(server)
            told(answer, 429, "try again in")
            assert int(answer.headers["Retry-After"]) >= 1


def exchanged(server, sent, **options):
    """What comes back of bytes sent, until the server hangs up."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        client.sendall(sent)
        parts = []
        while part := client.recv(1 << 16):
            parts.append(part)
        return b"".join(parts)


def test_a_client_that_hangs_is_cut_off(server):
    head = f"POST {CHAT} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n"
    sent = (head.encode() + b"{", b"POST /v1/chat", b"")
    with ThreadPoolExecutor() as pool:
        body, *others = pool.map(partial(exchanged, server), sent)
    assert body.startswith(b"HTTP/1.1 408 ")
    assert b"did not come within 1 s" in body
    assert others == [b"", b""]


def test_a_client_that_reads_nothing_is_cut_off(monitor, monkeypatch):
    monkeypatch.setattr(monitor.model.model.generation_config, "eos_token_id", None)
    with serving(monitor, most_tokens=1900, seconds=0.5) as server:
        server.place.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        body = json.dumps(ASKED | {"max_tokens": 1900, "stream": True, "scores": True, "seed": 1}).encode()
        head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        head += f"Content-Length: {len(body)}\r\n\r\n"
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", server.port))
        client.sendall(head.encode() + body)
        assert client.recv(10).startswith(b"HTTP/1.1 2")
        deadline = time.monotonic() + 60
        while server.engine.counts != (0, 0):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        actions = httpx.get(f"{server.url}/metrics").text
        client.close()
    assert 'mup_conversations_total{action="left"} 1' in actions


def test_a_probe_of_another_model_is_refused_at_the_start(probe):
    other = replace(probe, provenance={**probe.provenance, "revision": "another"})
    with pytest.raises(UserError, match="revision"):
        load_monitor({"a": probe, "b": other}, device="cpu")


def test_the_key_stands_in_the_environment(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MUP_SERVE_KEY", raising=False)
    assert read_key() is None
    monkeypatch.setenv("MUP_SERVE_KEY", "  ")
    assert read_key() is None
    monkeypatch.setenv("MUP_SERVE_KEY", "secret")
    assert read_key().get_secret_value() == "secret"
    assert "secret" not in repr(read_key())


def test_addresses_of_this_machine():
    assert [is_loopback(host) for host in ("127.0.0.1", "localhost", "::1", "127.9.9.9")] == [True] * 4
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.1.2", "example.org")))
    taken = listen("127.0.0.1", 0)
    with pytest.raises(UserError, match="cannot be had"):
        listen("127.0.0.1", taken.getsockname()[1])
    taken.close()
