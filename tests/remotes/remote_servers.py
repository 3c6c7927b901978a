"""Two S3-compatible servers, and a proxy that makes them fail."""

import contextlib
import datetime
import http.client
import ipaddress
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

KEY_ID = "AKIDTESTTESTTESTTESTTESTTESTTEST"
ERRORS = {"503": "SlowDown", "403": "AccessDenied"}
SECRET = "canary-3f1b-secret-value-of-the-tests"


def make_certificate(folder):
    """A certificate of its own for 127.0.0.1: (certificate, key) in PEM files."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """What the two servers have in common."""

    certificate = None

    @cache  # noqa: B019  one takes a third of a second, servers are few
    def client(self, service="s3", key_id=KEY_ID, secret=SECRET):
        from botocore.config import Config
        from botocore.session import Session

        return Session().create_client(
            service,
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=key_id,
            aws_secret_access_key=secret,
            verify=self.certificate and str(self.certificate[0]),
            config=Config(request_checksum_calculation="when_required"),
        )

    def make_bucket(self, name):
        self.client().create_bucket(Bucket=name)

    def objects(self, bucket):
        """Key -> content."""
        client = self.client()
        found = client.list_objects_v2(Bucket=bucket).get("Contents", [])
        return {item["Key"]: client.get_object(Bucket=bucket, Key=item["Key"])["Body"].read() for item in found}

    def put(self, bucket, key, content):
        """Replace an object behind DVC's back."""
        self.client().put_object(Bucket=bucket, Key=key, Body=content)

    def empty(self, bucket):
        for item in self.client().list_objects_v2(Bucket=bucket).get("Contents", []):
            self.client().delete_object(Bucket=bucket, Key=item["Key"])


class Rclone(Server):
    """`rclone serve s3` over https: checks signatures, and refuses what it does not know, as R2 does."""

    def __init__(self, folder, certificate, *, share=None):
        """With `share`, the folder of another server: read without keys."""
        self.folder, self.certificate, self.port = share or folder / "buckets", certificate, free_port()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / f"rclone-{self.port}.log"
        self.anonymous = share is not None
        self.start()

    @property
    def endpoint(self):
        return f"https://127.0.0.1:{self.port}"

    @property
    def environment(self):
        return {"R2_ENDPOINT_URL": self.endpoint, "AWS_CA_BUNDLE": str(self.certificate[0])}

    def start(self):
        program = shutil.which("rclone", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        command = [program, "serve", "s3", "--addr", f"127.0.0.1:{self.port}", "--config", ""]
        command += ["--cert", str(self.certificate[0]), "--key", str(self.certificate[1])]
        command += ["--read-only"] if self.anonymous else ["--auth-key", f"{KEY_ID},{SECRET}"]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen([*command, str(self.folder)], stdout=log, stderr=log)
        _wait_for(self.port)

    def kill(self):
        self._process.kill()
        self._process.wait()


class Moto(Server):
    """Moto's server, over http, in this process."""

    def __init__(self):
        from moto.server import ThreadedMotoServer

        self.port = free_port()
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=self.port, verbose=False)
        self._server.start()

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self):
        return {"R2_ENDPOINT_URL": self.endpoint}

    def kill(self):
        self._server.stop()


class FaultProxy:
    """Stands before a server and fails as told.

    `faults` is used up: one (method, kind) per request of that method that carries more than a few bytes. Kinds: 503
    (slow down); 403 (no right); cut (the connection ends half-way); truncate (half of the answer, then the end); late
    (by a second); kill (the server dies half-way); pass.
    """

    def __init__(self, server):
        self.server, self.faults, self.seen = server, [], []
        self.released = threading.Event()
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"proxy": self}))
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def environment(self):
        return {"R2_ENDPOINT_URL": f"http://127.0.0.1:{self._http.server_port}"}

    def fault(self, method, path):
        """The fault of this request; what only lists or looks passes, and so does the trial of `mup remote`."""
        if "/files/md5/" not in path or "list-type" in path or path.endswith(".dir"):
            return "pass"
        with self._lock:
            self.seen.append(method)
            for number, (wanted, kind) in enumerate(self.faults):
                if wanted == method:
                    del self.faults[number]
                    return kind
        return "pass"

    def count(self, method):
        """Requests for the content of files, so far."""
        return self.seen.count(method)

    def close(self):
        self._http.shutdown()
        self._http.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: FaultProxy

    def _serve(self):
        kind = self.proxy.fault(self.command, self.path)
        length = int(self.headers.get("Content-Length") or 0)
        if kind == "late":
            time.sleep(0.3)
        if kind == "cut":
            self.rfile.read(length // 2)
            return self._hang_up()
        body = self.rfile.read(length)
        if kind == "hold":
            assert self.proxy.released.wait(60)
        if kind in ERRORS:
            answer = f"<?xml version='1.0'?><Error><Code>{ERRORS[kind]}</Code></Error>".encode()
            return self._answer(int(kind), [("Content-Type", "application/xml")], answer)
        try:
            status, headers, answer = self._forward(body, dies=kind == "kill")
        except (OSError, http.client.HTTPException):
            return self._hang_up()
        if kind == "truncate":
            return self._answer(status, headers, answer[: len(answer) // 2], claimed=len(answer))
        return self._answer(status, headers, answer)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _serve

    def _forward(self, body, *, dies):
        server = self.proxy.server
        if isinstance(server, Rclone):
            context = ssl.create_default_context(cafile=server.certificate[0])
            connection = http.client.HTTPSConnection("127.0.0.1", server.port, context=context)
        else:
            connection = http.client.HTTPConnection("127.0.0.1", server.port)
        with contextlib.closing(connection):
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():  # Host too: it is signed
                if name.lower() != "expect":
                    connection.putheader(name, value)
            connection.endheaders(body[: len(body) // 2] if dies else body)
            if dies:
                if not body:  # the answer is under way
                    connection.getresponse().read(10)
                time.sleep(0.3)  # the server has what was sent
                server.kill()
                raise ConnectionError("the server was killed")
            response = connection.getresponse()
            return response.status, response.getheaders(), response.read()

    def _answer(self, status, headers, body, claimed=None):
        self.send_response_only(status)
        lengths = [value for name, value in headers if name.lower() == "content-length"]
        for name, value in headers:
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        size = lengths[0] if self.command == "HEAD" and lengths else claimed or len(body)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        if claimed:
            self._hang_up()

    def _hang_up(self):
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_):
        pass


def _wait_for(port, seconds=30):
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
