"""Secrets and paths of this machine, from the environment or `.env`."""

from pathlib import Path

from dotenv import find_dotenv
from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Secrets and paths; every one may be absent. An empty variable counts as absent."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_file_encoding="utf-8")

    openai_api_key: SecretStr | None = None
    open_router_api_key: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("OPEN_ROUTER_API_KEY", "OPENROUTER_API_KEY")
    )
    hf_token: SecretStr | None = None
    r2_access_key_id: SecretStr | None = None
    r2_secret_access_key: SecretStr | None = None
    r2_datasets_bucket: str | None = None
    r2_activations_bucket: str | None = None
    r2_account_id: str | None = None
    activations_dir: Path | None = None
    hf_home: Path | None = None
    wandb_api_key: SecretStr | None = None

    @field_validator("*", mode="before")
    @classmethod
    def _empty_is_absent(cls, value: object) -> object:
        return None if isinstance(value, str) and not value.strip() else value


def load_settings() -> Settings:
    """Read the environment, then the nearest `.env` at or above the working directory.

    DVC runs temporary experiments in a folder below the project, where a plain `.env` would not be found.
    """
    return Settings(_env_file=find_dotenv(usecwd=True) or None)  # pyright: ignore[reportCallIssue] pydantic's argument
