"""Where a remote can point: an R2 or S3 bucket, or a public address; and what its errors mean."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import SettingsConfigDict

from models_under_pressure.core.display import masked
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import is_object
from models_under_pressure.core.section import load_plain
from models_under_pressure.core.settings import Settings, read_settings


class BucketSettings(Settings):
    """Buckets, endpoints and keys of the two remotes; every one may be absent."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    r2_endpoint_url: str | None = None
    """Replaces `https://<account id>.r2.cloudflarestorage.com`, for tests and S3-compatible servers."""
    r2_jurisdiction: Literal["eu", "fedramp"] | None = None
    """Jurisdiction that the buckets were made in; such buckets are seen only at an endpoint of their own."""
    s3_datasets_bucket: str | None = None
    s3_activations_bucket: str | None = None
    s3_endpoint_url: str | None = None
    """An S3-compatible server; absent for AWS."""
    aws_region: str | None = Field(default=None, validation_alias=AliasChoices("AWS_REGION", "AWS_DEFAULT_REGION"))
    aws_profile: str | None = None
    aws_access_key_id: SecretStr | None = None
    aws_secret_access_key: SecretStr | None = None
    aws_session_token: SecretStr | None = None
    aws_ca_bundle: str | None = None
    """Certificates (PEM) to trust, for a server with a certificate of its own."""


def load_bucket_settings() -> BucketSettings:
    """Read the environment, then the nearest `.env` at or above the working directory."""
    return read_settings(BucketSettings)


REMOTES = ("datasets", "activations")
"""Names of the DVC remotes, as in .dvc/config and dvc.yaml."""
PREFIX = "dvc"
"""Folder of a bucket that DVC's files are in."""

Provider = Literal["r2", "s3", "public", "folder"]


@dataclass(frozen=True)
class Target:
    """Where one remote points."""

    name: str
    """Name of the remote."""
    url: str
    """s3://bucket/folder, https://host/folder, or the path of a folder."""
    provider: Provider
    endpoint: str | None = None
    """Address of the S3 API; None is AWS."""
    region: str | None = None
    profile: str | None = None
    """Profile of the AWS configuration, where the keys come from it."""
    access_key_id: SecretStr | None = field(default=None, repr=False)
    secret_access_key: SecretStr | None = field(default=None, repr=False)
    session_token: SecretStr | None = field(default=None, repr=False)
    ca_bundle: str | None = None
    """Certificates (PEM) to trust."""
    anonymous: bool = False
    """Read without keys."""

    @property
    def bucket(self) -> str:
        """Name of the bucket."""
        return self.url.removeprefix("s3://").partition("/")[0]

    @property
    def prefix(self) -> str:
        """Folder inside the bucket."""
        return self.url.removeprefix("s3://").partition("/")[2]


def r2_targets(settings: BucketSettings) -> tuple[Target, ...]:
    """The two buckets on Cloudflare R2.

    Raises:
        UserError: a variable is absent or malformed; all are named at once.
    """
    names = ["R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY", "R2_DATASETS_BUCKET", "R2_ACTIVATIONS_BUCKET"]
    if settings.r2_endpoint_url is None:
        names.append("R2_ACCOUNT_ID")
    _require(settings, names)
    return _targets(
        "r2",
        (settings.r2_datasets_bucket, settings.r2_activations_bucket),
        endpoint=settings.r2_endpoint_url or _r2_endpoint(settings),
        region="auto",
        access_key_id=settings.r2_access_key_id,
        secret_access_key=settings.r2_secret_access_key,
        ca_bundle=settings.aws_ca_bundle,
    )


def s3_targets(settings: BucketSettings) -> tuple[Target, ...]:
    """The two buckets on AWS S3, or on a compatible server at S3_ENDPOINT_URL.

    Without AWS_ACCESS_KEY_ID the keys come from where AWS's tools look for them (profile, instance role).

    Raises:
        UserError: a variable is absent; all are named at once.
    """
    names = ["S3_DATASETS_BUCKET", "S3_ACTIVATIONS_BUCKET"]
    if settings.aws_access_key_id:
        names.append("AWS_SECRET_ACCESS_KEY")
    _require(settings, names)
    return _targets(
        "s3",
        (settings.s3_datasets_bucket, settings.s3_activations_bucket),
        endpoint=settings.s3_endpoint_url,
        region=settings.aws_region,
        profile=None if settings.aws_access_key_id else settings.aws_profile,
        access_key_id=settings.aws_access_key_id,
        secret_access_key=settings.aws_secret_access_key,
        session_token=settings.aws_session_token,
        ca_bundle=settings.aws_ca_bundle,
    )


def public_targets(
    datasets_url: str, activations_url: str, *, endpoint: str | None = None, ca_bundle: str | None = None
) -> tuple[Target, ...]:
    """Addresses that anyone can read: https://, or s3:// without keys.

    Raises:
        UserError: an address of another kind.
    """
    for url in (datasets_url, activations_url):
        if not url.startswith(("https://", "http://", "s3://")):
            raise UserError(
                masked(f"{url!r} is not a public address."), remedy="give one that begins with https:// or s3://."
            )
    return tuple(
        Target(
            name=name,
            url=url.rstrip("/"),
            provider="public",
            endpoint=endpoint if url.startswith("s3://") else None,
            ca_bundle=ca_bundle,
            anonymous=url.startswith("s3://"),
        )
        for name, url in zip(REMOTES, (datasets_url, activations_url), strict=True)
    )


def _targets(provider: Provider, buckets: tuple[str | None, str | None], **options: Any) -> tuple[Target, ...]:
    # one bucket may serve both: each remote has its own folder in it
    folders = (PREFIX, PREFIX) if buckets[0] != buckets[1] else (f"{PREFIX}-{name}" for name in REMOTES)
    places = zip(REMOTES, buckets, folders, strict=True)
    return tuple(Target(name, f"s3://{bucket}/{folder}", provider, **options) for name, bucket, folder in places)


def _require(settings: BucketSettings, names: list[str]) -> None:
    absent = [name for name in names if getattr(settings, name.lower()) is None]
    if absent:
        raise UserError(f"not set: {', '.join(absent)}.", remedy="fill them in .env (.env.example lists them).")


def _r2_endpoint(settings: BucketSettings) -> str:
    account = (settings.r2_account_id or "").strip()
    if not re.fullmatch(r"[0-9a-f]{32}", account):
        raise UserError(
            "R2_ACCOUNT_ID is not an account id, which has 32 characters out of 0-9 and a-f.",
            remedy="copy it from the R2 page of the Cloudflare dashboard, without https:// or a host name.",
        )
    jurisdiction = f".{settings.r2_jurisdiction}" if settings.r2_jurisdiction else ""
    return f"https://{account}{jurisdiction}.r2.cloudflarestorage.com"


class Explanation(NamedTuple):
    """An error in the words of its reader."""

    problem: str
    remedy: str


_RIGHTS = {
    "list": "give the token the right to list (R2: `Object Read & Write`, or `Object Read only` for a reader; "
    "AWS: s3:ListBucket on the bucket itself)",
    "write": "give the token the right to write (R2: `Object Read & Write`; AWS: s3:PutObject), or use "
    "`mup remote public` to read only",
    "read": "give the token the right to read (AWS: s3:GetObject)",
    "delete": "give the token the right to delete (AWS: s3:DeleteObject), or leave it: DVC deletes in `dvc gc -c` only",
}


def explain(error: BaseException, *, target: Target, action: str = "use") -> Explanation:
    """Explain an error met while an `action` (list, write, read, delete) was tried on a remote.

    The chain of causes is searched, since s3fs wraps botocore's errors. The server's own message is left out: it can
    quote the signed request.
    """
    for cause in _chain(error):
        code, said = error_code(cause), str(cause).lower()
        is_certificate = "certificate" in said and "verify failed" in said
        name = code or ("certificate" if is_certificate else type(cause).__name__)
        for each in (f"{name}/{target.provider}", name, f"{name[:1]}xx"):
            for names, words in load_plain(Path(__file__).with_name("errors.yaml")).items():
                if each in names.split():
                    facts = _facts(target, action) | {"name": name}
                    return Explanation(*(text.format(**facts) for text in words))
        if code is not None:
            problem = f"the server answers {code} when asked to {action}"
            return Explanation(problem, "look the code up in the server's manual")
    # botocore's own errors are about this machine's set-up and quote no request
    own = masked(f": {error}") if type(error).__module__.startswith("botocore") else ""
    return Explanation(f"{type(error).__name__} while trying to {action}{own}", "run `dvc doctor` and `dvc push -v`")


def error_code(error: BaseException) -> str | None:
    """The S3 code of an error, such as NoSuchBucket."""
    response = getattr(error, "response", None)
    return str(response["Error"].get("Code", "")) if is_object(response) and "Error" in response else None


def _facts(target: Target, action: str) -> dict[str, str]:
    unreachable = "check the network and the address of the endpoint in .env"
    if target.provider == "r2" and "cloudflarestorage.com" in (target.endpoint or ""):
        unreachable = "check the network and R2_ACCOUNT_ID: the endpoint of an account that does not exist refuses to "
        unreachable += "connect"
    return {
        "provider": target.provider,
        "bucket": target.bucket,
        "host": masked(target.endpoint or (target.url if target.url.startswith("http") else "AWS S3")),
        "action": action,
        "rights": _RIGHTS.get(action, "check the rights of the token"),
        "unreachable": unreachable,
    }


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
