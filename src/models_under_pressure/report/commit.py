"""Which commit a run belongs to."""

import subprocess
from collections.abc import Sequence

INPUTS = ("src", "dvc.yaml", "params.yaml", "data/versions.yaml")
"""What people edit. Results are committed after the run, so that HEAD itself would differ between two equal runs."""


def commit_of(paths: Sequence[str] = INPUTS) -> str:
    """The last commit that changed `paths`, with its date, and whether they were edited since, in words."""
    if _git("rev-parse", "--is-shallow-repository") == "true":
        # git would name the oldest commit that the clone holds, whether it changed these paths or not
        return "unknown (a shallow clone)"
    found = _git("log", "-1", "--format=%H (%cs)", "--", *paths)
    if not found:
        return "none (not committed)"
    edited = _git("status", "--porcelain", "--", *paths)
    return f"{found}, with changes that are not committed" if edited else found


def _git(*arguments: str) -> str:
    """What git says; empty when there is no git or no repository."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, encoding="utf-8", check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
