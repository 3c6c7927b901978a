"""What became of one question, in our own words."""

import json

import openai
from instructor.core.exceptions import IncompleteOutputException, InstructorRetryException
from pydantic import ValidationError

from models_under_pressure.llm.reply import Kind
from models_under_pressure.llm.session import Call

FAILURES = (TimeoutError, IncompleteOutputException, InstructorRetryException)
"""What a question may raise; anything else is a defect."""


def classify(error: BaseException, call: Call) -> tuple[Kind, str]:
    """Kind and detail of a failure. Texts of the endpoint are left out: they may quote the key."""
    if call.ended:
        return call.ended
    if isinstance(error, TimeoutError):
        return "timeout", f"no reply within the deadline, {call.requests} requests"
    cause = error.__cause__
    if isinstance(cause, openai.APITimeoutError):
        return "timeout", f"{call.requests} requests timed out"
    if isinstance(cause, openai.APIStatusError):
        status = cause.status_code
        transient = status in (408, 409, 429) or status >= 500
        return ("transport" if transient else "rejected"), f"HTTP {status} after {call.requests} requests"
    if isinstance(cause, openai.APIConnectionError):
        return "transport", f"connection lost or refused, {call.requests} requests"
    return "invalid", _mismatch(cause)


def _mismatch(cause: BaseException | None) -> str:
    if isinstance(cause, ValidationError):
        problems = cause.errors(include_url=False, include_input=False, include_context=False)
        return "; ".join(f"{'.'.join(map(str, one['loc'])) or 'reply'}: {one['msg']}" for one in problems)
    if isinstance(cause, json.JSONDecodeError):
        return "reply is not JSON"
    return type(cause).__name__
