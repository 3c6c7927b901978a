"""What `.env` says about the buckets."""

from typing import Literal

from dotenv import find_dotenv
from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import SettingsConfigDict

from models_under_pressure.core.settings import Settings


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
    return BucketSettings(_env_file=find_dotenv(usecwd=True) or None)  # pyright: ignore[reportCallIssue] pydantic's
