"""Refusals as OpenAI's API tells them: a status and `{"error": {"message", "type", "param", "code"}}`."""

from collections.abc import Mapping
from typing import Any

from models_under_pressure.core.errors import UserError
from models_under_pressure.monitor.live import TooLongError
from models_under_pressure.monitor.serving.engine import BusyError

_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class RefusalError(Exception):
    """A request that is refused."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param
        self.headers = dict(headers or {})

    @property
    def row(self) -> dict[str, Any]:
        """The body of the answer."""
        kind = _TYPES.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


def refusal_of(error: Exception) -> RefusalError:
    """What a client is told of an error; of one that is the server's own, nothing but that there was one."""
    if isinstance(error, RefusalError):
        return error
    if isinstance(error, TooLongError):
        return RefusalError(400, str(error), code="context_length_exceeded", param="messages")
    if isinstance(error, UserError):
        return RefusalError(400, str(error), param="messages")
    if isinstance(error, BusyError):
        wait = str(error.wait)
        return RefusalError(429, f"{error}; try again in {wait} s.", code="busy", headers={"Retry-After": wait})
    return RefusalError(500, "the server failed; its own output says why.", code="internal_error")
