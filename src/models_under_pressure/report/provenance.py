"""Where what a page shows comes from: commit, model, data."""

import hashlib
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from models_under_pressure.core.paths import Dataset
from models_under_pressure.core.records import Record
from models_under_pressure.report.content import DatasetVersion

INPUTS = ("src", "dvc.yaml", "params.yaml", "data/versions.yaml")
"""Paths that people edit. Results are committed after the run, so that HEAD would differ between two equal runs."""

DEMO = "demo-authors"
"""Name of the demo corpus's labeller."""

_NAMES = {
    "model": "Model",
    "revision": "Model revision",
    "quantization": "Quantisation",
    "compute_dtype": "Computed in",
    "hook_point": "Hook point",
    "max_tokens": "Tokens read of a record, at most",
    "template_hash": "Chat template, hash",
    "tokenizer": "Tokenizer, fingerprint",
    "dataset": "Training data, hash of its content",
}


def notice(records: Iterable[Record]) -> str:
    """What a page must say of texts and labels by the project's authors; empty without any."""
    if all(record.scale_label_model != DEMO for record in records):
        return ""
    return (
        " Texts or labels were written by the project's authors: these figures show that the pipeline works, they "
        "are not results of the paper."
    )


def model_facts(origin: Mapping[str, Any], seed: int, commit: str) -> dict[str, str]:
    """The few settings that define a run, from the provenance of a probe."""
    revision = origin.get("revision")
    return {
        "Model": str(origin["model"]) + (f" at {str(revision)[:12]}" if revision else ""),
        "Layer": f"{origin['layer']} ({origin['hook_point']})",
        "Seed": str(seed),
        "Commit": commit,
    }


def provenance(origin: Mapping[str, Any], commit: str) -> dict[str, str]:
    """Hashes and revisions behind activations, from the provenance of a probe."""
    known = {told: str(origin[name]) for name, told in _NAMES.items() if origin.get(name) is not None}
    return {"Last commit of code, graph and parameters": commit} | known


def dataset_version(one: Dataset, version: str, records: Sequence[Record]) -> DatasetVersion:
    """A dataset in use: its version, labels, labellers, and the hash of its file."""
    labels = Counter(record.label.value if record.label else "not labelled" for record in records)
    labellers = Counter(record.scale_label_model or "not recorded" for record in records)
    return DatasetVersion(
        name=one.name,
        purpose=one.purpose,
        version=version,
        path=one.path.as_posix(),
        rows=len(records),
        labels=dict(sorted(labels.items())),
        labelled_by=", ".join(sorted(labellers)),
        content_hash=hashlib.md5(one.path.read_bytes(), usedforsecurity=False).hexdigest(),
    )


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
