"""Printing what checks found."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from models_under_pressure.remotes.finding import Finding

_MARKS = {"ok": "ok", "note": "note", "failure": "FAIL"}


def print_findings(findings: "Iterable[Finding]") -> "list[Finding]":
    """Print each finding as it comes, its remedy below it, and return all."""
    seen = []
    for finding in findings:
        print(f"  {_MARKS[finding.state]:5} {finding.topic:12} {finding.detail}", flush=True)
        if finding.remedy:
            print(f"  {'':18} -> {finding.remedy}", flush=True)
        seen.append(finding)
    return seen


def or_failure(findings: "Iterable[Finding]") -> "Iterator[Finding]":
    """Findings until one cannot be made; the error is the last of them, so that other checks go on."""
    from models_under_pressure.core.errors import UserError, disk_error
    from models_under_pressure.remotes.finding import Finding

    try:
        yield from findings
    except (UserError, OSError) as error:
        problem = disk_error(error) if isinstance(error, OSError) else error
        if problem is None:
            raise
        yield Finding("unknown", "failure", f"{problem.where or ''} {problem.problem}".strip(), problem.remedy)
