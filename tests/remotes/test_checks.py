"""Each failure of a bucket is said in the words of its reader, with its remedy."""

import datetime
import json
import time
from types import SimpleNamespace
from urllib.request import Request, urlopen

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from remote_servers import KEY_ID, SECRET

from models_under_pressure.remotes import checks
from models_under_pressure.remotes.checks import check_remote, failed
from models_under_pressure.remotes.target import Target, explain

AWS_CONF = "[default]\nrequest_checksum_calculation = when_required\nresponse_checksum_validation = when_required\n"


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch):
    for name in ("AWS_CONFIG_FILE", "AWS_CA_BUNDLE", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def root(tmp_path):
    """A project of which only the AWS configuration matters here."""
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/aws.conf").write_text(AWS_CONF)
    return tmp_path


@pytest.fixture
def bucket(server, buckets):
    server.make_bucket(buckets[0])
    return buckets[0]


def target(server, bucket, **changes):
    values = {
        "name": "datasets",
        "url": f"s3://{bucket}/dvc",
        "provider": "r2",
        "endpoint": server.endpoint,
        "region": "us-east-1",
        "access_key_id": SecretStr(KEY_ID),
        "secret_access_key": SecretStr(SECRET),
        "ca_bundle": str(server.certificate[0]) if server.certificate else None,
    }
    return Target(**values | changes)


def by_topic(findings):
    return {finding.topic: finding for finding in findings}


def test_a_bucket_that_works_passes_every_check_and_is_left_as_it_was(server, bucket, root):
    found = list(check_remote(target(server, bucket), root=root))
    assert [(finding.topic, finding.state) for finding in found] == [
        ("list", "ok"),
        ("write", "ok"),
        ("read", "ok"),
        ("checksums", "ok"),
    ]
    assert server.objects(bucket) == {}


@pytest.mark.parametrize(
    ("changes", "problem", "remedy"),
    [
        ({"secret_access_key": SecretStr("wrong")}, "the secret key does not belong", "copy the keys anew"),
        ({"access_key_id": SecretStr("UNKNOWN")}, "does not know this access key id", "mup remote r2"),
        ({"url": "s3://absent-bucket/dvc"}, "no bucket 'absent-bucket'", "create it"),
        ({"endpoint": "https://127.0.0.1:9"}, "cannot be reached", "check the network"),
        ({"endpoint": "https://nowhere.invalid"}, "cannot be reached", "address of the endpoint"),
        ({"ca_bundle": None}, "is not trusted", "AWS_CA_BUNDLE"),
        ({"ca_bundle": "/no/such.pem"}, "/no/such.pem does not exist", "AWS_CA_BUNDLE"),
        ({"profile": "absent"}, "no keys were found", "fill in the keys"),
    ],
)
def test_a_failure_is_named_with_its_remedy(rclone, buckets, root, changes, problem, remedy):
    rclone.make_bucket(buckets[0])
    (finding,) = check_remote(target(rclone, buckets[0], **changes), root=root)
    assert finding.state == "failure"
    assert problem in finding.detail
    assert remedy in finding.remedy


def test_a_missing_bucket_is_named_on_the_other_server_too(moto, root):
    (finding,) = check_remote(target(moto, "absent-bucket"), root=root)
    assert "no bucket 'absent-bucket'" in finding.detail


def test_a_clock_that_is_wrong(rclone, buckets, root, monkeypatch):
    """This server says AccessDenied, R2 says RequestTimeTooSkewed: the date of the answer decides."""
    rclone.make_bucket(buckets[0])
    from botocore import auth

    late = datetime.datetime.now(datetime.UTC).replace(tzinfo=None) - datetime.timedelta(hours=3)
    monkeypatch.setattr(auth, "get_current_datetime", lambda **_: late)
    monkeypatch.setattr(checks, "time", SimpleNamespace(time=lambda: late.replace(tzinfo=datetime.UTC).timestamp()))
    (finding,) = check_remote(target(rclone, buckets[0]), root=root)
    assert "180 minutes behind the server's" in finding.detail
    assert "timedatectl" in finding.remedy


def test_a_server_that_checks_no_clock_shows_the_difference(moto, buckets, root, monkeypatch):
    moto.make_bucket(buckets[0])
    monkeypatch.setattr(checks, "time", SimpleNamespace(time=lambda: time.time() + 3600))
    found = by_topic(check_remote(target(moto, buckets[0]), root=root))
    assert "60 minutes ahead of the server's" in found["clock"].detail
    assert found["clock"].state == "failure"


@pytest.fixture
def token(moto, buckets):
    """A function that makes keys with some rights in a bucket; moto checks rights while the test runs."""
    moto.make_bucket(buckets[0])
    client = moto.client("iam", "setup", "setup")

    def make(*actions):
        name = f"user-{buckets[0]}"
        client.create_user(UserName=name)
        statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        client.put_user_policy(UserName=name, PolicyName="rights", PolicyDocument=document)
        key = client.create_access_key(UserName=name)["AccessKey"]
        check_rights(moto, after="0")
        return target(
            moto,
            buckets[0],
            access_key_id=SecretStr(key["AccessKeyId"]),
            secret_access_key=SecretStr(key["SecretAccessKey"]),
        )

    yield make
    check_rights(moto, after="inf")


def check_rights(moto, *, after):
    """Let moto check rights after a number of requests."""
    url, head = f"{moto.endpoint}/moto-api/reset-auth", {"Content-Type": "text/plain"}
    urlopen(Request(url, data=after.encode(), headers=head, method="POST")).close()


def test_a_token_without_the_right_to_list(token, root):
    found = by_topic(check_remote(token("s3:GetObject", "s3:PutObject", "s3:DeleteObject"), root=root))
    assert found["list"].state == "failure"
    assert "no right to list" in found["list"].detail
    assert "s3:ListBucket" in found["list"].remedy
    assert found["write"].state == found["read"].state == "ok", "the other rights are tried all the same"


def test_a_token_without_the_right_to_write(token, root):
    found = by_topic(check_remote(token("s3:GetObject", "s3:ListBucket"), root=root))
    assert found["list"].state == "ok"
    assert "no right to write" in found["write"].detail
    assert "mup remote public" in found["write"].remedy


def test_a_token_without_the_right_to_delete_is_no_obstacle(token, root):
    found = list(check_remote(token("s3:GetObject", "s3:ListBucket", "s3:PutObject"), root=root))
    assert by_topic(found)["delete"].state == "note"
    assert not failed(found)


def test_botocores_default_checksums_are_caught_where_a_server_refuses_them(rclone, buckets, root):
    rclone.make_bucket(buckets[0])
    (root / ".dvc/aws.conf").unlink()
    found = by_topic(check_remote(target(rclone, buckets[0]), root=root))
    assert "refuses botocore's checksums" in found["write"].detail
    assert ".dvc/aws.conf" in found["write"].remedy


def test_where_a_server_takes_them_the_missing_setting_is_noted(moto, buckets, root):
    moto.make_bucket(buckets[0])
    (root / ".dvc/aws.conf").unlink()
    found = by_topic(check_remote(target(moto, buckets[0]), root=root))
    assert found["checksums"].state == "note"
    assert moto.objects(buckets[0]) == {}


def test_a_users_own_aws_configuration_wins_and_is_seen_to(rclone, buckets, root, tmp_path, monkeypatch):
    rclone.make_bucket(buckets[0])
    (tmp_path / "own.conf").write_text("[default]\nregion = us-east-1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "own.conf"))
    found = by_topic(check_remote(target(rclone, buckets[0]), root=root))
    assert "unset AWS_CONFIG_FILE" in found["write"].remedy


def answer(code, message=""):
    return ClientError({"Error": {"Code": code, "Message": message}}, "PutObject")


R2 = Target(name="datasets", url="s3://b/dvc", provider="r2", endpoint="https://x.r2.cloudflarestorage.com")


@pytest.mark.parametrize(
    ("error", "problem", "remedy"),
    [
        (answer("Unauthorized"), "refuses the keys", "checksums"),
        (answer("InvalidArgument"), "form of the keys", "32 characters"),
        (answer("NotEntitled"), "no R2 subscription", "dashboard"),
        (answer("ExpiredRequest"), "clock", "timedatectl"),
        (answer("RequestTimeTooSkewed"), "clock", "timedatectl"),
        (answer("AccessDenied"), "no right to write", "Object Read & Write"),
        (answer("PermanentRedirect"), "another region", "AWS_REGION"),
        (answer("ExpiredToken"), "session token has expired", "new one"),
        (answer("InvalidBucketName"), "not a possible name", ".env"),
        (answer("NotImplemented"), "refuses botocore's checksums", "when_required"),
        (answer("SlowDown"), "fewer requests", "-j 1"),
        (answer("503"), "the server fails", "try again"),
        (answer("Teapot"), "answers Teapot", "manual"),
        (ConnectionRefusedError(), "cannot be reached", "R2_ACCOUNT_ID"),
        (TimeoutError(), "does not answer", "network"),
    ],
)
def test_codes_that_no_test_server_gives_are_explained_as_r2_means_them(error, problem, remedy):
    found = explain(error, target=R2, action="write")
    assert problem in found.problem
    assert remedy in found.remedy


def test_an_account_that_does_not_exist_is_a_refused_handshake():
    from botocore.exceptions import SSLError

    found = explain(SSLError(endpoint_url=R2.endpoint, error="sslv3 alert handshake failure"), target=R2)
    assert "R2_ACCOUNT_ID" in found.remedy


def test_the_cause_of_a_wrapped_error_is_found():
    wrapped = FileNotFoundError("wrapped")
    wrapped.__cause__ = answer("NoSuchBucket")
    assert "no bucket 'b'" in explain(wrapped, target=R2).problem


@given(st.text(), st.text(min_size=12))
def test_an_explanation_never_repeats_what_the_server_said(code, message):
    found = explain(answer(code, message), target=R2, action="write")
    assert message not in found.problem + found.remedy or message in code
