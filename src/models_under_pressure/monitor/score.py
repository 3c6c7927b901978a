"""Scoring new conversations with a saved probe: its model is loaded, and reads them as it read the training data."""

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int8

from models_under_pressure.activations.config import ExtractConfig, ModelConfig
from models_under_pressure.activations.extract import extract
from models_under_pressure.activations.model import LoadedModel, load_model
from models_under_pressure.activations.store import open_store
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.records import Record
from models_under_pressure.monitor.pieces import token_texts
from models_under_pressure.probes.probe import Probe

CHUNK = 256
"""Conversations read by the model before their scores are given out."""

_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, eq=False)
class TokenScores:
    """What a probe makes of each token of a conversation."""

    texts: tuple[str, ...]
    """Text of each token; a character made of several tokens stands at the last of them."""
    roles: Int8[np.ndarray, "tokens"]
    """Role codes of `activations.ragged`."""
    logits: Float[np.ndarray, "tokens"]
    """Logit of each token on its own."""
    contributions: Float[np.ndarray, "tokens"]
    """What each token adds to the conversation's logit; they sum to it."""


@dataclass(frozen=True, eq=False)
class Scored:
    """A conversation's score."""

    id: str
    logit: float
    probability: float
    flagged: Mapping[float, bool]
    """False positive rate of a stored threshold -> whether the logit reaches it."""
    tokens: TokenScores | None = None


def load_probe_model(probe: Probe, *, device: str = "auto") -> LoadedModel:
    """Load the model that a probe reads, as far as its layer, at the revision and precision of its training.

    Args:
        probe: the probe.
        device: see `ModelConfig`.

    Raises:
        UserError: the model is not found or gated.
    """
    origin = probe.provenance
    revision = str(origin.get("revision"))
    config = ModelConfig.model_validate(
        {
            "name": origin["model"],
            # a local model has a fingerprint, which names no commit; it is compared after the extraction
            "revision": revision if _COMMIT.fullmatch(revision) else None,
            "dtype": origin.get("compute_dtype", "auto"),
            "quantization": origin.get("quantization", "none"),
            "device": device,
        }
    )
    return load_model(config, layers=[int(origin["layer"])])


def score_records(
    records: Sequence[Record], probe: Probe, model: LoadedModel, *, tokens: bool = False
) -> Iterator[Scored]:
    """Yield the score of each conversation, in their order; `tokens` adds the score of each of its tokens.

    Raises:
        UserError: the model is not the one of the probe, or its chat template refuses a conversation; or tokens are
            asked of a probe that reads one vector per conversation.
    """
    if tokens and probe.provenance.get("keep", "tokens") != "tokens":
        raise UserError(
            "the probe reads one vector per conversation, so there is nothing to say of its tokens.",
            remedy="train a probe on a store that keeps all tokens.",
        )
    for start in range(0, len(records), CHUNK):
        chunk = records[start : start + CHUNK]
        with tempfile.TemporaryDirectory(prefix="mup-score-") as folder:
            store = _read(chunk, probe, model, Path(folder) / "layer.zarr")
            found = {scored.id: scored for scored in _score(store, probe, model.tokenizer if tokens else None)}
        yield from (found[record.id] for record in chunk)


def _read(records: Sequence[Record], probe: Probe, model: LoadedModel, path: Path) -> Any:
    """The activations of some conversations, made as the probe's training data were."""
    origin = probe.provenance
    names = ("hook_point", "keep", "max_tokens", "truncation_side")
    config = ExtractConfig.model_validate({name: origin[name] for name in names if name in origin})
    layer = int(origin["layer"])
    extract(records, model=model, config=config, paths={layer: path})
    store: Any = open_store(path)
    probe.check(store)
    return store


def _score(store: Any, probe: Probe, tokenizer: Any | None) -> Iterator[Scored]:
    logits = probe.decision_function(store)
    probabilities = probe.probabilities(logits)
    alone = added = np.zeros(0)
    if tokenizer is not None:
        alone, added = probe.score_tokens(store), probe.contributions(store)
    for number, id_ in enumerate(store.ids):
        own = slice(int(store.offsets[number]), int(store.offsets[number + 1]))
        tokens = None
        if tokenizer is not None:
            texts = token_texts(store.token_ids[own].tolist(), tokenizer)
            tokens = TokenScores(tuple(texts), store.roles[own], alone[own], added[own])
        logit = float(logits[number])
        yield Scored(id_, logit, float(probabilities[number]), _flagged(probe, logit), tokens)


def _flagged(probe: Probe, logit: float) -> dict[float, bool]:
    return {row.budget: row.logit is not None and logit >= row.logit for row in probe.thresholds}
