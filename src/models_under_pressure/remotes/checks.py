"""Trying everything that DVC will do with a remote, one right at a time."""

import ssl
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Literal

from models_under_pressure.core.display import masked
from models_under_pressure.remotes.config import aws_config_file
from models_under_pressure.remotes.contents import tracked_outputs
from models_under_pressure.remotes.target import Target, error_code, explain


@dataclass(frozen=True)
class Finding:
    """One line of a report; addresses in it are masked."""

    topic: str
    """What was looked at."""
    state: Literal["ok", "note", "failure"]
    """ok: as it should be; note: works, with something to know; failure: stands in the way."""
    detail: str
    """What was found."""
    remedy: str | None = None
    """What to do, for a note or a failure."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "detail", masked(self.detail))


def failed(findings: Iterable[Finding]) -> bool:
    """Whether anything stands in the way."""
    return any(finding.state == "failure" for finding in findings)


_SKEW_LIMIT = 300
"""Seconds; servers refuse signatures at 900."""
_TRIAL = b"written by `mup remote test`; delete it\n"


def check_remote(target: Target, *, root: Path) -> Iterator[Finding]:
    """Check one remote: reachable, keys, bucket, list, write, read, checksums.

    Stops at the first failure that makes the rest meaningless. What it writes in the bucket, it deletes.
    """
    if target.provider == "folder" and not Path(target.url).is_dir():
        yield Finding("folder", "note", f"{target.url} does not exist yet", "the first `dvc push` makes it")
    elif target.provider == "folder":
        yield Finding("folder", "ok", target.url)
    elif target.ca_bundle and not Path(target.ca_bundle).is_file():
        remedy = "correct AWS_CA_BUNDLE (the environment comes before .env), or take it out"
        yield Finding("certificate", "failure", f"{target.ca_bundle} does not exist", remedy)
    elif target.url.startswith("s3://"):
        yield from _check_bucket(target, aws_config_file(root=root))
    else:
        yield _check_public(target, root)


def _client(target: Target, *, config_file: str | None, checksums: str | None = None) -> Any:
    """A botocore client set up as DVC's own; `checksums` overrides when they are calculated."""
    from botocore import UNSIGNED
    from botocore.config import Config
    from botocore.session import Session

    session: Any = Session(profile=target.profile)
    if config_file:
        session.set_config_variable("config_file", config_file)
    options: dict[str, Any] = {"retries": {"total_max_attempts": 2}, "connect_timeout": 10, "read_timeout": 30}
    if target.anonymous:
        options["signature_version"] = UNSIGNED
    if checksums:
        options["request_checksum_calculation"] = checksums
    keys = {
        "aws_access_key_id": target.access_key_id,
        "aws_secret_access_key": target.secret_access_key,
        "aws_session_token": target.session_token,
    }
    return session.create_client(
        "s3",
        endpoint_url=target.endpoint,
        region_name=target.region,
        verify=target.ca_bundle,
        config=Config(**options),
        **{name: key.get_secret_value() for name, key in keys.items() if key},
    )


def _check_bucket(target: Target, config_file: str | None) -> Iterator[Finding]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        client = _client(target, config_file=config_file)
        answer = client.list_objects_v2(Bucket=target.bucket, Prefix=f"{target.prefix}/", MaxKeys=1)
    except (BotoCoreError, ClientError) as error:
        clock = _check_clock(getattr(error, "response", {}))
        yield clock or _failure("list", error, target)
        if clock or target.anonymous or error_code(error) not in ("AccessDenied", "403"):
            return
        # without the right to list, DVC cannot tell what is missing; the other rights are still worth knowing
        client = _client(target, config_file=config_file)
    else:
        yield Finding("list", "ok", f"{target.url} at {target.endpoint or 'AWS S3'}")
        clock = _check_clock(answer)
        if clock:
            yield clock
    if not target.anonymous:
        yield from _check_rights(client, target)
        yield from _check_checksums(target, config_file)


def _check_clock(answer: Any) -> Finding | None:
    """Compare this machine's clock with the date of an answer; some servers call a wrong clock AccessDenied."""
    date = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    ahead = time.time() - parsedate_to_datetime(date).timestamp() if date else 0.0
    if abs(ahead) <= _SKEW_LIMIT:
        return None
    direction = "ahead of" if ahead > 0 else "behind"
    detail = f"this machine's clock is {abs(ahead) / 60:.0f} minutes {direction} the server's"
    return Finding("clock", "failure", detail, "set the clock (`timedatectl set-ntp true`)")


def _check_rights(client: Any, target: Target) -> Iterator[Finding]:
    """Write a small object, read it back, see that an absent one is absent, and delete it."""
    from botocore.exceptions import BotoCoreError, ClientError

    key = f"{target.prefix}/.mup-test/{uuid.uuid4().hex}"
    place = {"Bucket": target.bucket, "Key": key}
    action = "write"
    try:
        client.put_object(**place, Body=_TRIAL)
        yield Finding("write", "ok", f"{len(_TRIAL)} bytes")
        action = "read"
        if client.get_object(**place)["Body"].read() != _TRIAL:
            yield Finding("read", "failure", "the server returned other bytes than were written", "use another server")
            return
        yield Finding("read", "ok", "the same bytes came back")
        action = "delete"
        client.delete_object(**place)
    except (BotoCoreError, ClientError) as error:
        found = explain(error, target=target, action=action)
        state = "note" if action == "delete" else "failure"
        yield Finding(action, state, found.problem, found.remedy)


def _check_checksums(target: Target, config_file: str | None) -> Iterator[Finding]:
    """Whether uploads work as configured although the server may refuse botocore's default checksums."""
    from botocore.exceptions import BotoCoreError, ClientError

    effective = _client(target, config_file=config_file).meta.config.request_checksum_calculation
    if effective == "when_required":
        yield Finding("checksums", "ok", "sent only when required, which every server accepts")
        return
    place = {"Bucket": target.bucket, "Key": f"{target.prefix}/.mup-test/{uuid.uuid4().hex}"}
    client = _client(target, config_file=config_file, checksums="when_required")
    try:
        client.put_object(**place, Body=_TRIAL)
        _client(target, config_file=config_file).put_object(**place, Body=_TRIAL)
    except (BotoCoreError, ClientError) as error:
        yield _failure("write", error, target, topic="checksums")
    else:
        detail = (
            f"botocore adds its own to uploads; this server accepts them (configured by {config_file or 'nothing'})"
        )
        yield Finding("checksums", "note", detail, "restore .dvc/aws.conf before using R2")
    finally:
        client.delete_object(**place)


def _failure(action: str, error: BaseException, target: Target, topic: str | None = None) -> Finding:
    found = explain(error, target=target, action=action)
    return Finding(topic or action, "failure", found.problem, found.remedy)


def _check_public(target: Target, root: Path) -> Finding:
    """Ask for one file that dvc.lock names; a plain web server cannot list."""
    from urllib.error import HTTPError, URLError
    from urllib.request import Request, urlopen

    known = [output.hash for output in tracked_outputs(root=root) if output.remote == target.name]
    if not known:
        return Finding("read", "note", f"dvc.lock names nothing of {target.name}", "check out a commit with results")
    url = f"{target.url}/files/md5/{known[0][:2]}/{known[0][2:]}"
    try:
        trust = ssl.create_default_context(cafile=target.ca_bundle) if url.startswith("https://") else None
        with urlopen(Request(url, method="HEAD"), timeout=30, context=trust):
            return Finding("read", "ok", f"{target.url} has what dvc.lock names")
    except HTTPError as error:
        remedy = "check the address, and that this commit's results were pushed"
        return Finding("read", "failure", f"{target.url} answers {error.code} for a file of dvc.lock", remedy)
    except (URLError, TimeoutError) as error:
        reason = getattr(error, "reason", error)
        return Finding(
            "read", "failure", f"{target.url} cannot be reached ({reason})", "check the network and the address"
        )
