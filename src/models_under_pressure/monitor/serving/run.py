"""The server on a socket: uvicorn, less patient with clients that hang."""

import asyncio
import ipaddress
import socket
from contextlib import suppress
from typing import Any

from fastapi import FastAPI
from pydantic import SecretStr
from uvicorn import Config, Server
from uvicorn.protocols.http.h11_impl import H11Protocol

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.settings import Settings, read_settings


def listen(host: str, port: int) -> socket.socket:
    """A socket that clients can reach from now on; port 0 is any free one.

    Raises:
        UserError: the address cannot be had.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, kind, protocol)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen(128)
    except OSError as error:
        problem = f"the address cannot be had ({error.strerror or error})."
        raise UserError(problem, where=f"{host}:{port}", remedy="choose another --host or --port.") from None
    return found


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def server_of(app: FastAPI, *, seconds: float, grace: int) -> Server:
    """The server of an application; its `run` ends at SIGINT, SIGTERM or `should_exit`.

    Args:
        app: the application.
        seconds: how long a client may send no whole request, or read nothing.
        grace: seconds that replies have; then they end where they are, and are logged.
    """

    class Impatient(H11Protocol):
        """Cuts off a client that says nothing, or reads nothing."""

        _timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._timer = self.loop.call_later(seconds, self._cut_silent)

        def connection_lost(self, exc: Exception | None) -> None:
            self._cancel()
            super().connection_lost(exc)

        def pause_writing(self) -> None:
            super().pause_writing()
            self._cancel()
            self._timer = self.loop.call_later(seconds, self.transport.abort)

        def resume_writing(self) -> None:
            self._cancel()
            super().resume_writing()

        def _cut_silent(self) -> None:
            if self.scope is None:  # pyright: ignore[reportUnnecessaryComparison] None before the first request
                self.transport.abort()

        def _cancel(self) -> None:
            if self._timer is not None:
                self._timer.cancel()

    config = Config(
        app,
        http=Impatient,
        ws="none",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=grace,
    )
    return Server(config)


class _KeySettings(Settings):
    mup_serve_key: SecretStr | None = None


def read_key() -> SecretStr | None:
    """The key that clients must present, from MUP_SERVE_KEY in the environment or `.env`."""
    return read_settings(_KeySettings).mup_serve_key
