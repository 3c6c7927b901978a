"""What a check found, and what to do about it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "note", "failure"]


@dataclass(frozen=True)
class Finding:
    """One line of a report."""

    topic: str
    """What was looked at."""
    state: State
    """ok: as it should be; note: works, with something to know; failure: stands in the way."""
    detail: str
    """What was found."""
    remedy: str | None = None
    """What to do, for a note or a failure."""


def failed(findings: Iterable[Finding]) -> bool:
    """Whether anything stands in the way."""
    return any(finding.state == "failure" for finding in findings)
