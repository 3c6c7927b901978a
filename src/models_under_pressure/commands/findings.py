"""Printing what checks found."""

from collections.abc import Iterable
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
