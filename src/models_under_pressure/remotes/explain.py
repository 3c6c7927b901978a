"""What an error of an S3 server means, and what to do about it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from models_under_pressure.remotes.target import Target


@dataclass(frozen=True)
class Explanation:
    """An error in the words of its reader."""

    problem: str
    remedy: str


_KEYS = "copy the keys anew into .env, and run `mup remote {provider}` again"
_REMEDIES: dict[str, tuple[str, str]] = {
    "InvalidAccessKeyId": ("the server does not know this access key id", _KEYS),
    "Unauthorized": (
        "the server refuses the keys",
        _KEYS + "; R2 answers the same to uploads with checksums, which .dvc/aws.conf turns off",
    ),
    "SignatureDoesNotMatch": ("the secret key does not belong to the access key id", _KEYS),
    "AuthorizationHeaderMalformed": ("the request was signed for another region", "set AWS_REGION to the bucket's"),
    "PermanentRedirect": ("the bucket is in another region", "set AWS_REGION to the bucket's"),
    "IllegalLocationConstraintException": ("the bucket is in another region", "set AWS_REGION to the bucket's"),
    "ExpiredToken": ("the session token has expired", "get a new one"),
    "InvalidToken": ("the session token is not valid", "get a new one, or leave AWS_SESSION_TOKEN empty"),
    "RequestTimeTooSkewed": ("this machine's clock is wrong", "set the clock (`timedatectl set-ntp true`)"),
    "ExpiredRequest": ("this machine's clock is wrong", "set the clock (`timedatectl set-ntp true`)"),
    "InvalidBucketName": ("{bucket!r} is not a possible name of a bucket", "correct the name in .env"),
    "NotEntitled": ("the account has no R2 subscription", "switch R2 on in the Cloudflare dashboard"),
    "MissingContentLength": ("the server refuses botocore's checksums", "{checksums}"),
    "NotImplemented": ("the server refuses botocore's checksums", "{checksums}"),
    "XAmzContentSHA256Mismatch": ("the server refuses botocore's checksums", "{checksums}"),
    "SlowDown": ("the server asks for fewer requests", "try later, or with fewer jobs (`dvc push -j 1`)"),
}
_CHECKSUMS = (
    "keep .dvc/aws.conf in place and unset AWS_CONFIG_FILE, or set AWS_REQUEST_CHECKSUM_CALCULATION=when_required "
    "and AWS_RESPONSE_CHECKSUM_VALIDATION=when_required"
)
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
        found = _explain_one(cause, target, action)
        if found:
            return found
    # botocore's own errors are about this machine's set-up and quote no request
    own = f": {error}" if type(error).__module__.startswith("botocore") else ""
    return Explanation(f"{type(error).__name__} while trying to {action}{own}", "run `dvc doctor` and `dvc push -v`")


def error_code(error: BaseException) -> str | None:
    """The S3 code of an error, such as NoSuchBucket."""
    response: Any = getattr(error, "response", None)
    return str(response["Error"].get("Code", "")) if isinstance(response, dict) and "Error" in response else None


def _explain_one(error: BaseException, target: Target, action: str) -> Explanation | None:
    code = error_code(error)
    if code is not None:
        return _explain_code(code, target, action)
    name = type(error).__name__
    if name in ("NoCredentialsError", "PartialCredentialsError", "ProfileNotFound"):
        return Explanation(
            "no keys were found", _fill("fill in the keys in .env and run `mup remote {provider}`", target)
        )
    if "certificate" in str(error).lower() and "verify failed" in str(error).lower():
        return Explanation(
            f"the certificate of {_host(target)} is not trusted",
            "set AWS_CA_BUNDLE (the environment comes before .env) to the server's certificate; "
            "behind a company's proxy, to that proxy's",
        )
    if name in ("SSLError", "SSLZeroReturnError", "ClientConnectorSSLError"):
        return Explanation(f"no TLS connection to {_host(target)}", _unreachable(target))
    if name in ("EndpointConnectionError", "ClientConnectorDNSError", "gaierror", "ConnectionRefusedError"):
        return Explanation(f"{_host(target)} cannot be reached", _unreachable(target))
    if name in ("ConnectTimeoutError", "ReadTimeoutError", "TimeoutError", "ServerTimeoutError"):
        return Explanation(f"{_host(target)} does not answer", "check the network, then try again")
    if name in ("ConnectionClosedError", "HTTPClientError", "ResponseStreamingError", "IncompleteReadError"):
        return Explanation(f"{_host(target)} closed the connection", "try again; what was transferred is kept")
    return None


def _explain_code(code: str, target: Target, action: str) -> Explanation:
    if code in _REMEDIES:
        problem, remedy = _REMEDIES[code]
        return Explanation(_fill(problem, target), _fill(remedy, target))
    if code in ("NoSuchBucket", "404"):
        elsewhere = " or R2_JURISDICTION, if it was made in one" if target.provider == "r2" else ""
        return Explanation(
            f"there is no bucket {target.bucket!r} in this account",
            f"create it, or correct the name in .env{elsewhere}",
        )
    if code in ("AccessDenied", "403", "AllAccessDisabled"):
        rights = _RIGHTS.get(action, "check the rights of the token")
        return Explanation(f"the keys have no right to {action} in {target.bucket!r}", rights)
    if code == "InvalidArgument" and target.provider == "r2":
        return Explanation(
            "R2 refuses the form of the keys", _fill(_KEYS, target) + " (an access key id has 32 characters)"
        )
    if code in ("InternalError", "ServiceUnavailable") or code.startswith("5"):
        return Explanation(f"the server fails ({code})", "try again; what was transferred is kept")
    return Explanation(f"the server answers {code} when asked to {action}", "look the code up in the server's manual")


def _unreachable(target: Target) -> str:
    if target.provider == "r2" and "cloudflarestorage.com" in (target.endpoint or ""):
        return "check the network and R2_ACCOUNT_ID: the endpoint of an account that does not exist refuses to connect"
    return "check the network and the address of the endpoint in .env"


def _host(target: Target) -> str:
    return target.endpoint or (target.url if target.url.startswith("http") else "AWS S3")


def _fill(text: str, target: Target) -> str:
    return text.replace("{checksums}", _CHECKSUMS).format(provider=target.provider, bucket=target.bucket)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
