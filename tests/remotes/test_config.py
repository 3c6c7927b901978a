"""Where the keys go, and where they do not."""

import shutil
import stat
import string
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from remote_projects import LAYER, ROOT
from remote_servers import KEY_ID, SECRET
from typer.testing import CliRunner

from models_under_pressure.cli import app
from models_under_pressure.core.errors import UserError
from models_under_pressure.remotes.config import default_remote, point_remotes, read_targets, restore_folders
from models_under_pressure.remotes.target import BucketSettings, public_targets, r2_targets, s3_targets
from models_under_pressure.tools import doctor

FILLED = {
    "r2_access_key_id": KEY_ID,
    "r2_secret_access_key": SECRET,
    "r2_datasets_bucket": "d",
    "r2_activations_bucket": "a",
    "r2_account_id": "0123456789abcdef0123456789abcdef",
}


@pytest.fixture
def empty(tmp_path):
    """A project without results, in git."""
    (tmp_path / ".dvc").mkdir()
    for name in ("config", "aws.conf", ".gitignore"):
        (tmp_path / ".dvc" / name).write_bytes((ROOT / ".dvc" / name).read_bytes())
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run(["git", "add", "-A"], cwd=tmp_path, check=True)
    return tmp_path


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch):
    for name in BucketSettings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def r2(**changes):
    return r2_targets(BucketSettings(**FILLED | changes))


def test_both_remotes_point_at_their_buckets_on_r2(empty):
    point_remotes(r2(), root=empty)
    datasets, activations = read_targets(root=empty)
    assert (datasets.name, datasets.url, activations.url) == ("datasets", "s3://d/dvc", "s3://a/dvc")
    assert datasets.endpoint == f"https://{FILLED['r2_account_id']}.r2.cloudflarestorage.com"
    assert datasets.region == "auto"
    assert datasets.provider == "r2"
    assert default_remote(root=empty) == "activations", "the run cache is restored from the default remote only"


def test_a_jurisdiction_has_an_endpoint_of_its_own():
    assert r2(r2_jurisdiction="eu")[0].endpoint.endswith(".eu.r2.cloudflarestorage.com")


def test_one_bucket_can_hold_both_remotes_apart():
    assert [target.url for target in r2(r2_activations_bucket="d")] == ["s3://d/dvc-datasets", "s3://d/dvc-activations"]


def test_only_the_owner_can_read_the_keys(empty):
    path = point_remotes(r2(), root=empty)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((empty / ".dvc/tmp").stat().st_mode) == 0o700, "temporary experiments copy the keys below it"


def test_no_file_of_git_changes(empty):
    point_remotes(r2(), root=empty)
    changed = subprocess.run(["git", "status", "--porcelain"], cwd=empty, capture_output=True, text=True, check=True)
    assert [line for line in changed.stdout.splitlines() if not line.startswith("A  ")] == []


@pytest.mark.parametrize("exposed", ["tracked", "not ignored"])
def test_keys_are_not_written_where_git_would_take_them(empty, exposed):
    if exposed == "tracked":
        (empty / ".dvc/config.local").write_text("")
        subprocess.run(["git", "add", "-f", ".dvc/config.local"], cwd=empty, check=True)
    else:
        (empty / ".dvc/.gitignore").unlink()
    with pytest.raises(UserError, match=r"\.dvc/config\.local: git does not ignore this file"):
        point_remotes(r2(), root=empty)
    assert SECRET.encode() not in b"".join(path.read_bytes() for path in (empty / ".dvc").iterdir() if path.is_file())


def test_local_forgets_the_keys_and_keeps_other_settings(empty):
    (empty / ".dvc/config.local").write_text("[cache]\n    dir = /mnt/cache\n")
    path = point_remotes(r2(), root=empty)
    restore_folders(root=empty)
    text = path.read_text()
    assert SECRET not in text
    assert KEY_ID not in text
    assert "/mnt/cache" in text
    assert [Path(target.url) for target in read_targets(root=empty)] == [
        (empty / ".remotes/datasets").resolve(),
        (empty / ".remotes/activations").resolve(),
    ]


def test_everything_absent_is_named_at_once():
    with pytest.raises(UserError, match="R2_SECRET_ACCESS_KEY, R2_ACTIVATIONS_BUCKET, R2_ACCOUNT_ID") as caught:
        r2_targets(BucketSettings(r2_access_key_id=KEY_ID, r2_datasets_bucket="d"))
    assert ".env" in caught.value.remedy


@pytest.mark.parametrize("account", ["https://x.r2.cloudflarestorage.com", "short", "G" * 32])
def test_a_malformed_account_id_is_refused_before_any_connection(account):
    with pytest.raises(UserError, match="R2_ACCOUNT_ID is not an account id"):
        r2(r2_account_id=account)


def test_s3_takes_keys_from_awss_own_configuration_when_none_are_given(empty):
    settings = BucketSettings(s3_datasets_bucket="d", s3_activations_bucket="a", aws_profile="team")
    point_remotes(s3_targets(settings), root=empty)
    target = read_targets(root=empty)[0]
    assert (target.provider, target.profile, target.access_key_id) == ("s3", "team", None)


def test_a_public_address_must_be_one(empty):
    with pytest.raises(UserError, match="is not a public address"):
        public_targets("/data", "https://x")


@settings(max_examples=40)
@given(st.text(alphabet=string.ascii_letters + string.digits + "/+=#%$\"'(){}[]<>,;:!@^&*-_~`|\\ ", min_size=1))
def test_a_key_of_any_characters_comes_back_as_it_was(tmp_path_factory, secret):
    secret = secret.strip() or "x"
    folder = tmp_path_factory.mktemp("p")
    (folder / ".dvc").mkdir()
    (folder / ".dvc/config").write_bytes((ROOT / ".dvc/config").read_bytes())
    targets = r2(r2_secret_access_key=SecretStr(secret))
    try:
        point_remotes(targets, root=folder)
    except UserError as error:
        assert secret not in str(error) or len(secret) < 4  # noqa: PT017
        return
    assert read_targets(root=folder)[0].secret_access_key.get_secret_value() == secret


def test_a_secret_shows_in_no_text_of_a_target():
    assert SECRET not in f"{r2()!r} {r2()!s}"


def holding_secret(*folders):
    """Files that hold the secret key, or the history of git where it does."""
    found = set()
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink() and SECRET.encode() in path.read_bytes():
                found.add(path)
            if path.name == ".git" and path.is_dir():  # its objects are compressed
                command = ["git", "cat-file", "--batch-all-objects", "--batch"]
                history = subprocess.run(command, cwd=path.parent, capture_output=True, check=True).stdout
                if SECRET.encode() in history:
                    found.add(path)
    return found


@pytest.fixture
def watched(project, rclone, buckets):
    """A project with a store of its own, whose temporary files are below its home."""
    for bucket in buckets:
        rclone.make_bucket(bucket)
    (project.home / "tmp").mkdir()
    project.environment |= {"TMPDIR": str(project.home / "tmp"), "AWS_MAX_ATTEMPTS": "1"}
    store = project.path / "data/activations/other/mine/layer_1.zarr"
    store.mkdir(parents=True)
    (store / "manifest.json").write_text("{}")
    return project.use(rclone, buckets)


def use_s3(project, rclone, buckets):
    """The same server as `mup remote s3` takes it."""
    (project.path / ".env").write_text(
        f"AWS_ACCESS_KEY_ID={KEY_ID}\nAWS_SECRET_ACCESS_KEY={SECRET}\nAWS_REGION=us-east-1\n"
        f"S3_DATASETS_BUCKET={buckets[0]}\nS3_ACTIVATIONS_BUCKET={buckets[1]}\n"
        f"S3_ENDPOINT_URL={rclone.endpoint}\nAWS_CA_BUNDLE={rclone.certificate[0]}\n"
    )


@pytest.mark.slow
@pytest.mark.parametrize("provider", ["r2", "s3"])
def test_no_file_or_output_but_two_holds_the_secret(watched, rclone, buckets, provider):
    """The two are .env and .dvc/config.local; project, logs, caches, temporary files, git and buckets are searched."""
    project = watched
    if provider == "s3":
        use_s3(project, rclone, buckets)
    own = {project.path / ".env", project.path / ".dvc/config.local"}
    project.mup("remote", provider)
    project.mup("acts", "sync")
    for arguments in (("remote", "test"), ("remote", "status", "--all"), ("remote", "repair")):
        project.mup(*arguments)
    project.mup("doctor", check=False)
    project.dvc("push", "-vv", "--run-cache")
    if provider == "r2":  # an experiment copies .dvc/config.local, whoever wrote it
        project.dvc("exp", "run", "--temp", "-S", "layer=9")
        project.dvc("exp", "run", "--queue", "-S", "layer=8")
    project.dvc("pull", "-vv", "--run-cache", LAYER.format(dataset="mt", layer=3))
    project.dvc("doctor")
    project.commit("an experiment's colleague commits everything")
    assert holding_secret(project.path, project.home) == own
    assert not any(SECRET.encode() in content for bucket in buckets for content in rclone.objects(bucket).values())
    project.mup("remote", "local")
    assert holding_secret(project.path, project.home) == {project.path / ".env"}


@pytest.mark.slow
def test_errors_hold_no_secret(watched, rclone, buckets):
    """Whatever fails: keys, buckets, the server, the configuration itself; also in the logs of DVC at its wordiest."""
    project, local = watched, watched.path / ".dvc/config.local"
    own = {project.path / ".env", local}
    for change in ({"key_id": "wrong"}, {"secret": f"{SECRET}x"}, {"buckets": ("absent", "absent")}):
        project.use(rclone, **{"buckets": buckets} | change)
        assert project.mup("remote", "r2", check=False).returncode == 1
        project.mup("remote", "r2", "--offline")
        for command in (("remote", "test"), ("remote", "status")):
            assert project.mup(*command, check=False).returncode == 1, command
        assert project.dvc("push", "-vv", check=False).returncode != 0
        cache = (project.path / ".dvc/cache").rename(project.home / "cache")
        assert project.dvc("fetch", "-vv", check=False).returncode != 0
        shutil.rmtree(project.path / ".dvc/cache", ignore_errors=True)
        cache.rename(project.path / ".dvc/cache")
    assert project.mup("acts", "sync", check=False).returncode == 1
    assert project.mup("doctor", check=False).returncode == 1
    assert holding_secret(project.path, project.home) == own
    for broken in (f"[broken {SECRET}", f"[cache]\n    type = {SECRET}\n", f"[core]\n    autostage = {SECRET}\n"):
        local.write_text(broken)
        for command in (("remote", "status"), ("remote", "r2", "--offline"), ("acts", "sync"), ("doctor", "--offline")):
            shown = project.mup(*command, check=False)
            assert shown.returncode == 1
            assert "not a valid DVC configuration" in shown.output.replace("\n", " ")
            assert "Traceback" not in shown.output
    assert holding_secret(project.path, project.home) == own


@pytest.mark.slow
def test_a_public_address_takes_no_key_with_it(watched, buckets):
    """The keys of .env stay there."""
    urls = [f"s3://{bucket}/dvc" for bucket in buckets]
    watched.mup("remote", "public", *urls, "--offline")
    watched.mup("remote", "test", check=False)
    watched.mup("remote", "public", "https://localhost:9/d", "https://localhost:9/a", check=False)
    assert holding_secret(watched.path, watched.home) == {watched.path / ".env"}


def test_a_password_in_an_address_is_kept_for_dvc_and_shown_nowhere(empty, monkeypatch):
    monkeypatch.chdir(empty)
    for name, value in FILLED.items():
        monkeypatch.setenv(name.upper(), value)
    monkeypatch.setenv("R2_ENDPOINT_URL", "https://user:hidden@127.0.0.1:9/x?token=hidden")
    outputs = [CliRunner().invoke(app, ["remote", *one]) for one in (["r2", "--offline"], ["status", "--offline"])]
    outputs.append(CliRunner().invoke(app, ["remote", "r2"]))
    outputs.append(CliRunner().invoke(app, ["remote", "public", "ftp://u:hidden@h", "https://h?t=hidden"]))
    findings = [doctor.remotes(root=empty, offline=True)]
    said = "".join(f"{one.output}{one.exception}" for one in outputs) + str([list(one) for one in findings])
    assert "***@127.0.0.1:9/x?***" in said
    assert "hidden" not in said
    assert "user:hidden@" in (empty / ".dvc/config.local").read_text()
