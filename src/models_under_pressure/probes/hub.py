"""Probes on the Hugging Face Hub: `hf://owner/name` is the newest, `hf://owner/name@revision` a pinned one."""

import re
from pathlib import Path
from typing import Any

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.hub import hub_errors
from models_under_pressure.probes.probe import CARD, DESCRIPTION, WEIGHTS, load_probe

SCHEME = "hf://"
_ADDRESS = re.compile(r"(?:hf://)?(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")
_FILES = (WEIGHTS, DESCRIPTION, CARD)


def pull_probe(address: str) -> Path:
    """Download a probe, or find it in the cache, and give the folder of its files.

    Nothing but weights, description and card is fetched, and the probe is read once, so that a damaged one is refused.

    Raises:
        UserError: there is no such repository or revision, it is private, it holds no probe, or the hub
            cannot be asked.
    """
    from huggingface_hub import HfApi

    api: Any = HfApi()
    repo, revision = _parts(address)
    with hub_errors("probe", repo, revision):
        folder = Path(api.snapshot_download(repo, revision=revision, allow_patterns=list(_FILES)))
    if not (folder / DESCRIPTION).is_file():
        raise UserError(f"the repository has no {DESCRIPTION}.", where=address, remedy="name one that holds a probe.")
    load_probe(folder)
    return folder


def push_probe(folder: Path, address: str, *, private: bool = False) -> str:
    """Upload a probe's weights, description and card as one commit, and give the address that pins it.

    Raises:
        UserError: the folder holds no probe, the token may not write there, or the hub cannot be asked.
    """
    from huggingface_hub import HfApi

    repo, revision = _parts(address)
    load_probe(folder)
    api = HfApi()
    with hub_errors("probe", repo, revision):
        api.create_repo(repo, private=private, exist_ok=True)
        commit = api.upload_folder(
            folder_path=folder,
            repo_id=repo,
            revision=revision,
            allow_patterns=list(_FILES),
            commit_message="Probe, its description and its card",
        )
    return f"{SCHEME}{repo}@{commit.oid}"


def _parts(address: str) -> tuple[str, str | None]:
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise UserError(
            "not an address on the hub.", where=address, remedy="write hf://owner/name, or …/name@revision."
        )
    return found["repo"], found["revision"]
