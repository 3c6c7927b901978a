"""The client: instructor on openai, in the one mode that all endpoints share."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx2
import instructor
import openai
from instructor.v2.providers.openrouter import from_openrouter

from models_under_pressure.core.settings import load_settings
from models_under_pressure.llm.config import LLMConfig
from models_under_pressure.llm.session import Session
from models_under_pressure.llm.transport import RecordingClient

_BASE_URLS = {"openai": "https://api.openai.com/v1", "openrouter": "https://openrouter.ai/api/v1"}
_CONNECT_SECONDS = 5.0


@asynccontextmanager
async def open_client(
    session: Session, *, key: str | None, transport: httpx2.AsyncBaseTransport | None = None
) -> AsyncIterator[openai.AsyncOpenAI]:
    """An openai client over the store. It belongs to the running event loop."""
    config = session.config
    timeout = httpx2.Timeout(config.request_timeout, connect=_CONNECT_SECONDS)
    options: dict[str, Any] = {"transport": transport} if transport else {}
    async with RecordingClient(session, timeout=timeout, **options) as http:
        yield openai.AsyncOpenAI(
            api_key=key or "absent",
            base_url=_BASE_URLS.get(config.endpoint, config.endpoint),
            http_client=http,
            timeout=timeout,
            max_retries=config.retries,
        )


def api_key(config: LLMConfig) -> str | None:
    """The key for an endpoint, from the environment or `.env`.

    A server named by its URL gets OPENAI_API_KEY over https or on this machine, and nothing over plain http.
    """
    settings = load_settings()
    if config.endpoint == "openrouter":
        secret = settings.open_router_api_key
    else:
        url = urlsplit(_BASE_URLS.get(config.endpoint, config.endpoint))
        private = url.scheme == "https" or url.hostname in ("localhost", "127.0.0.1", "::1")
        secret = settings.openai_api_key if private else None
    return secret.get_secret_value() if secret else None


def needs_key(config: LLMConfig) -> bool:
    """Whether the endpoint answers nobody without a key; a server named by its URL may."""
    return config.endpoint in _BASE_URLS


def structured(client: openai.AsyncOpenAI) -> instructor.AsyncInstructor:
    """The client with structured replies: strict JSON schemas, at every endpoint."""
    logging.getLogger("instructor.v2.retry").setLevel(logging.CRITICAL)  # it logs what we report as failures
    return from_openrouter(client, mode=instructor.Mode.JSON_SCHEMA)


def sampling(config: LLMConfig) -> dict[str, Any]:
    """The sampling parameters of a request; those that are null are left out."""
    length = "max_completion_tokens" if config.endpoint == "openai" else "max_tokens"
    chosen: dict[str, Any] = {"model": config.model, length: config.max_tokens}
    if config.temperature is not None:
        chosen["temperature"] = config.temperature
    if config.seed is not None:
        chosen["seed"] = config.seed
    if config.endpoint == "openrouter":  # only hosts that honour the schema
        chosen["extra_body"] = {"provider": {"require_parameters": True}}
    return chosen
