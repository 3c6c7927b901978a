"""Push and pull of a 2 GB store against a plain copy of the same bytes, on the same server.

    python benchmarks/remotes.py [--gigabytes 2] [--rounds 3]

The server is `rclone serve s3` over https on this machine; the plain copy is what `aws s3 cp --recursive` does (the
transfer manager of boto3 with its defaults). Rounds alternate; each uses a new bucket.
"""

import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SHARD = 64 * 2**20
KEY_ID, SECRET = "benchmark", "benchmark-secret"
ROOT = Path(__file__).parents[1]


def main():
    """Run the benchmark and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        certificate = make_certificate(folder)
        os.environ |= {"AWS_CA_BUNDLE": str(certificate[0]), "DVC_SITE_CACHE_DIR": str(folder / "site")}
        store = make_project(folder / "project", arguments.gigabytes)
        server, endpoint = start_server(folder, certificate)
        try:
            rows = [measure(folder, store, endpoint, number) for number in range(arguments.rounds)]
        finally:
            server.kill()
            server.wait()
    report(rows)


def measure(folder, store, endpoint, number):
    """Seconds of (plain upload, dvc push, plain download, dvc pull)."""
    project = folder / "project"
    for kind in ("plain", "dvc"):
        client(endpoint).create_bucket(Bucket=f"{kind}-{number}")
    point(project, endpoint, f"dvc-{number}")
    shutil.rmtree(folder / "site", ignore_errors=True)
    upload = timed(lambda: plain_upload(store, endpoint, f"plain-{number}"))
    push = timed(lambda: dvc(project, "push", "-q"))
    target, clone = folder / f"copy-{number}", folder / f"clone-{number}"
    download = timed(lambda: plain_download(target, endpoint, f"plain-{number}"))
    subprocess.run(["git", "clone", "-q", str(project), str(clone)], check=True)
    point(clone, endpoint, f"dvc-{number}")
    pull = timed(lambda: dvc(clone, "pull", "-q"))
    sizes = [sum(path.stat().st_size for path in root.rglob("*") if path.is_file()) for root in (store, target)]
    assert sizes[0] == sizes[1] == sum(path.stat().st_size for path in (clone / "store").rglob("*") if path.is_file())
    for used in (target, clone, folder / "buckets" / f"plain-{number}", folder / "buckets" / f"dvc-{number}"):
        shutil.rmtree(used)
    return upload, push, download, pull


def report(rows):
    """Print the median of each kind and the ratios."""
    upload, push, download, pull = (statistics.median(column) for column in zip(*rows, strict=True))
    for name, plain, ours in (("push", upload, push), ("pull", download, pull)):
        ratios = [row[1] / row[0] if name == "push" else row[3] / row[2] for row in rows]
        print(f"{name}: plain {plain:.1f} s, dvc {ours:.1f} s, ratio {statistics.median(ratios):.2f} of {ratios}")


def make_project(project, gigabytes):
    """A DVC project with one store of random bytes: shards of 64 MiB and a few small files."""
    store = project / "store"
    store.mkdir(parents=True)
    shutil.copytree(ROOT / ".dvc", project / ".dvc", ignore=shutil.ignore_patterns("tmp", "cache", "config.local"))
    for number in range(round(gigabytes * 2**30 / SHARD)):
        (store / f"shard-{number:03}").write_bytes(os.urandom(SHARD))
    for number in range(6):
        (store / f"meta-{number}.json").write_text("{}" * (number + 1))
    for command in (["git", "init", "-q"], [*python(), "-m", "dvc", "add", "-q", "store"], ["git", "add", "-A"]):
        subprocess.run(command, cwd=project, check=True)
    commit = ["git", "-c", "user.name=b", "-c", "user.email=b@b", "commit", "-qm", "store"]
    subprocess.run(commit, cwd=project, check=True)
    return store


def point(project, endpoint, bucket):
    """Point the remotes of a project as a user does."""
    lines = {
        "R2_ACCESS_KEY_ID": KEY_ID,
        "R2_SECRET_ACCESS_KEY": SECRET,
        "R2_DATASETS_BUCKET": bucket,
        "R2_ACTIVATIONS_BUCKET": bucket,
        "R2_ENDPOINT_URL": endpoint,
    }
    command = [*python(), "-m", "models_under_pressure", "remote", "r2", "--offline"]
    environment = {**os.environ, **lines, "PYTHONPATH": str(ROOT / "src")}
    subprocess.run(command, cwd=project, env=environment, check=True, stdout=subprocess.DEVNULL)


def plain_upload(store, endpoint, bucket):
    """Upload every file with boto3's transfer manager, ten requests at a time."""
    from boto3.s3.transfer import TransferConfig, create_transfer_manager

    with create_transfer_manager(client(endpoint), TransferConfig()) as manager:
        futures = [manager.upload(str(path), bucket, path.name) for path in sorted(store.iterdir())]
        for future in futures:
            future.result()


def plain_download(folder, endpoint, bucket):
    """Download every file with boto3's transfer manager."""
    from boto3.s3.transfer import TransferConfig, create_transfer_manager

    folder.mkdir()
    keys = [item["Key"] for item in client(endpoint).list_objects_v2(Bucket=bucket)["Contents"]]
    with create_transfer_manager(client(endpoint), TransferConfig()) as manager:
        futures = [manager.download(bucket, key, str(folder / key)) for key in keys]
        for future in futures:
            future.result()


def client(endpoint):
    """An S3 client with checksums off, as DVC's."""
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=KEY_ID,
        aws_secret_access_key=SECRET,
        config=Config(request_checksum_calculation="when_required", response_checksum_validation="when_required"),
    )


def start_server(folder, certificate):
    """`rclone serve s3` over https."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "buckets").mkdir()
    command = [str(Path(sys.executable).with_name("rclone")), "serve", "s3", "--addr", f"127.0.0.1:{port}"]
    command += ["--cert", str(certificate[0]), "--key", str(certificate[1]), "--auth-key", f"{KEY_ID},{SECRET}"]
    server = subprocess.Popen([*command, str(folder / "buckets")], stderr=subprocess.DEVNULL)
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return server, f"https://127.0.0.1:{port}"
        except OSError:
            time.sleep(0.1)


def make_certificate(folder):
    """A certificate for this machine."""
    paths = folder / "certificate.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-out", str(paths[0]), "-keyout", str(paths[1])]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return paths


def python():
    """The interpreter."""
    return [sys.executable]


def dvc(project, *arguments):
    """Run DVC in a project."""
    subprocess.run([*python(), "-m", "dvc", *arguments], cwd=project, check=True)


def timed(action):
    """Seconds of wall clock; what is in the disk's queue is waited for before."""
    os.sync()
    start = time.monotonic()
    action()
    return time.monotonic() - start


if __name__ == "__main__":
    main()
