"""Push and pull of a 2 GB store against a plain copy of the same bytes, on the same server.

    python benchmarks/remotes.py [--gigabytes 2] [--rounds 3] [--server rclone] [--megabytes-per-second 119]

The server is `rclone serve s3` over https, or moto's over http, on this machine; the plain copy is what
`aws s3 cp --recursive` does (boto3's transfer manager with its defaults). Rounds alternate; each uses a new bucket.
Before the pulls, each bucket is read once: this server hashes a file when it is first read. With a limit, the server
sends and takes no more than that, as over a network (119: 1 Gbit/s); without one, it is as fast as the machine.
Besides `dvc pull` as `mup remote` sets it up, two pulls show what its parts cost: with hard links (no second copy), and
also without `verify` (no hash of what arrived). Times are wall clock; the processor's seconds are those of client and
server together, which a busy machine changes less.
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
PULLS = {
    "dvc pull": (),
    "dvc pull, hard links": (("cache.type", "hardlink"),),
    "dvc pull, hard links, no verify": (("cache.type", "hardlink"), ("remote.activations.verify", "false")),
}


def main():
    """Run the benchmark and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--server", choices=["rclone", "moto"], default="rclone")
    parser.add_argument("--megabytes-per-second", type=float, default=None, help="Limit of rclone, both ways.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        certificate = make_certificate(folder)
        os.environ |= {"AWS_CA_BUNDLE": str(certificate[0]), "DVC_SITE_CACHE_DIR": str(folder / "site")}
        store = make_project(folder / "project", arguments.gigabytes)
        limit = arguments.megabytes_per_second
        server, endpoint = start_moto() if arguments.server == "moto" else start_rclone(folder, certificate, limit)
        try:
            rows = [measure(folder, store, endpoint, number, server.pid) for number in range(arguments.rounds)]
        finally:
            server.kill()
            server.wait()
    report(rows)


def measure(folder, store, endpoint, number, server):
    """Action -> (seconds, processor's seconds of client and server)."""
    project, bucket = folder / "project", f"dvc-{number}"
    for name in (f"plain-{number}", bucket):
        client(endpoint).create_bucket(Bucket=name)
    point(project, endpoint, bucket)
    shutil.rmtree(folder / "site", ignore_errors=True)
    row = {}
    row["plain push"] = timed(lambda: plain_upload(store, endpoint, f"plain-{number}"), server)
    row["dvc push"] = timed(lambda: dvc(project, "push", "-q"), server)
    target = folder / "copy"
    for name in (f"plain-{number}", bucket):
        plain_download(target, endpoint, name, flat=True)
        shutil.rmtree(target)
    row["plain pull"] = timed(lambda: plain_download(target, endpoint, f"plain-{number}"), server)
    assert size_of(store) == size_of(target)
    shutil.rmtree(target)
    for kind, settings in PULLS.items():
        clone = folder / "clone"
        subprocess.run(["git", "clone", "-q", str(project), str(clone)], check=True)
        point(clone, endpoint, bucket)
        for setting in settings:
            dvc(clone, "config", "--local", *setting)
        row[kind] = timed(lambda clone=clone: dvc(clone, "pull", "-q"), server)
        assert size_of(store) == size_of(clone / "store")
        shutil.rmtree(clone)
    for name in (f"plain-{number}", bucket):
        shutil.rmtree(folder / "buckets" / name, ignore_errors=True)
    return row


def report(rows):
    """Print the median of each action, and its ratio to the plain copy of the same round."""
    print(f"{'':34} {'seconds':>8} {'cpu':>6}   ratio of seconds, of cpu; of each round")
    for kind in rows[0]:
        plain = f"plain {'push' if 'push' in kind else 'pull'}"
        seconds, cpu = (statistics.median(row[kind][n] for row in rows) for n in (0, 1))
        ratios = [[row[kind][n] / row[plain][n] for row in rows] for n in (0, 1)]
        medians = ", ".join(f"{statistics.median(ratio):.2f}" for ratio in ratios)
        each = " ".join(f"{ratio:.2f}" for ratio in ratios[0])
        print(f"{kind:34} {seconds:8.1f} {cpu:6.1f}   {medians}; {each}")


def size_of(folder):
    """Bytes of the files of a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


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


def plain_download(folder, endpoint, bucket, *, flat=False):
    """Download every file with boto3's transfer manager; `flat`: into one folder, whatever the names."""
    from boto3.s3.transfer import TransferConfig, create_transfer_manager

    folder.mkdir()
    keys = [item["Key"] for item in client(endpoint).list_objects_v2(Bucket=bucket)["Contents"]]
    with create_transfer_manager(client(endpoint), TransferConfig()) as manager:
        futures = [manager.download(bucket, key, str(folder / key.replace("/", "-" if flat else "/"))) for key in keys]
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


def start_rclone(folder, certificate, limit):
    """`rclone serve s3` over https; `limit` in megabytes (10^6 bytes) a second."""
    port = free_port()
    (folder / "buckets").mkdir()
    command = [str(Path(sys.executable).with_name("rclone")), "serve", "s3", "--addr", f"127.0.0.1:{port}"]
    command += ["--cert", str(certificate[0]), "--key", str(certificate[1]), "--auth-key", f"{KEY_ID},{SECRET}"]
    command += ["--bwlimit", f"{limit * 10**6 / 1024:.0f}k"] if limit else []
    server = subprocess.Popen([*command, str(folder / "buckets")], stderr=subprocess.DEVNULL)
    wait_for(port)
    return server, f"https://127.0.0.1:{port}"


def start_moto():
    """Moto's server over http, in a process of its own."""
    port = free_port()
    command = [*python(), "-m", "moto.server", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(port)
    return server, f"http://127.0.0.1:{port}"


def free_port():
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port):
    """Wait until a server listens."""
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=1).close()
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


def timed(action, server):
    """Seconds of wall clock, and of the processor; what is in the disk's queue is waited for before."""
    os.sync()
    processor = sum(os.times()[:4]) + processor_seconds(server)
    start = time.monotonic()
    action()
    seconds = time.monotonic() - start
    return seconds, sum(os.times()[:4]) + processor_seconds(server) - processor


def processor_seconds(pid):
    """Seconds of the processor that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
