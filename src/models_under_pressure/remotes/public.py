"""Checking a remote that is read over plain https."""

import ssl
from pathlib import Path

from models_under_pressure.remotes.finding import Finding
from models_under_pressure.remotes.target import Target


def check_public(target: Target, *, root: Path) -> Finding:
    """Ask for one file that dvc.lock names; a plain web server cannot list."""
    from urllib.error import HTTPError, URLError
    from urllib.request import Request, urlopen

    from models_under_pressure.remotes.contents import tracked_outputs

    known = [output.hash for output in tracked_outputs(root=root) if output.remote == target.name]
    if not known:
        return Finding("read", "note", f"dvc.lock names nothing of {target.name}", "check out a commit with results")
    url = f"{target.url}/files/md5/{known[0][:2]}/{known[0][2:]}"
    try:
        with urlopen(Request(url, method="HEAD"), timeout=30, context=_trust(target)):
            return Finding("read", "ok", f"{target.url} has what dvc.lock names")
    except HTTPError as error:
        remedy = "check the address, and that this commit's results were pushed"
        return Finding("read", "failure", f"{target.url} answers {error.code} for a file of dvc.lock", remedy)
    except (URLError, TimeoutError) as error:
        reason = getattr(error, "reason", error)
        return Finding(
            "read", "failure", f"{target.url} cannot be reached ({reason})", "check the network and the address"
        )


def _trust(target: Target) -> ssl.SSLContext | None:
    return ssl.create_default_context(cafile=target.ca_bundle) if target.url.startswith("https://") else None
