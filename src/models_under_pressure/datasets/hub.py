"""Datasets of the Hugging Face hub: which files are a config's split, at one commit."""

import re
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import is_list, is_object
from models_under_pressure.core.hub import hub_errors
from models_under_pressure.datasets.tables import Pinned, is_table_name

_SPLITS = {"train": "train", "test": "test", "validation": "validation", "valid": "validation", "dev": "validation"}
"""Word in a file's path -> the split that it is, where the dataset's card does not say."""


def fetch_dataset(name: str, pinned: Pinned) -> tuple[list[Path], dict[str, Any]]:
    """Download one split of a dataset, or find it in the hub's cache.

    Args:
        name: `owner/name`.
        pinned: revision, config and split; what there is one of need not be said.

    Returns:
        The files, and where they come from: the commit stands for all that a branch could become.

    Raises:
        UserError: the dataset, the revision, the config or the split does not exist or needs a token, or several
            are there and none is named.
    """
    from huggingface_hub import HfApi

    where = f"hf://{name}"
    api: Any = HfApi()
    with hub_errors("dataset", name, pinned.revision):
        info = api.dataset_info(name, revision=pinned.revision, timeout=30)
        paths = sorted(file.rfilename for file in info.siblings or () if is_table_name(file.rfilename))
        card: Any = info.card_data.to_dict() if info.card_data else {}
        config, split, chosen = _chosen(paths, _declared(card), pinned, where)
        if not chosen:
            remedy = "choose another --split or --config, or download its files and import the folder."
            raise UserError("no CSV, Parquet or JSON Lines file is in it.", where=where, remedy=remedy)
        files = [api.hf_hub_download(name, path, repo_type="dataset", revision=info.sha) for path in chosen]
    origin = {"source": where, "revision": info.sha, "config": config, "split": split}
    return list(map(Path, files)), {key: value for key, value in origin.items() if value}


def _declared(card: Any) -> dict[str, dict[str, list[str]]]:
    """Config -> split -> patterns of its files, as the card says."""
    found: dict[str, dict[str, list[str]]] = {}
    for entry in card.get("configs") or ():
        files = entry.get("data_files") if is_object(entry) else None
        parts = files if is_list(files) else [files] if files else []
        splits = found.setdefault(str(entry.get("config_name", "default")), {})
        for part in parts:
            patterns = part.get("path") if is_object(part) else part
            split = str(part.get("split", "train")) if is_object(part) else "train"
            splits.setdefault(split, []).extend(map(str, patterns if is_list(patterns) else [patterns]))
    return {config: splits for config, splits in found.items() if splits}


def _chosen(
    paths: Sequence[str], declared: dict[str, dict[str, list[str]]], pinned: Pinned, where: str
) -> tuple[str | None, str | None, list[str]]:
    """Config, split and files."""
    if declared:
        config = _one("config", list(declared), pinned.config, where)
        split = _one("split", list(declared[config]), pinned.split, where)
        patterns = declared[config][split]
        return config, split, [path for path in paths if any(fnmatch(path, pattern) for pattern in patterns)]
    config = pinned.config
    if config is not None:
        folders = sorted({part for path in paths for part in Path(path).parts[:-1]})
        config = _one("config", folders, config, where)
        paths = [path for path in paths if config in Path(path).parts[:-1]]
    by_split: dict[str, list[str]] = {}
    for path in paths:
        by_split.setdefault(_split_of(path), []).append(path)
    split = _one("split", list(by_split), pinned.split, where) if by_split else None
    return config, split, by_split.get(split or "", [])


def _split_of(path: str) -> str:
    words = re.split(r"[^a-z]+", path.lower())
    return next((_SPLITS[word] for word in reversed(words) if word in _SPLITS), "train")


def _one(what: str, known: Sequence[str], wanted: str | None, where: str) -> str:
    """The one that is wanted, or the only one."""
    if wanted is not None and wanted in known:
        return wanted
    if wanted is None and len(known) == 1:
        return known[0]
    problem = f"there are {len(known)} {what}s." if wanted is None else f"there is no {what} {wanted!r}."
    raise UserError(problem, where=where, remedy=f"name one with --{what}: {', '.join(known)}.")
