"""Conversations scored with a saved probe, whose model reads them as it read the training data; and scores as rows."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int8

from models_under_pressure.activations.config import EMBEDDED_MODEL, ExtractConfig, LoadedModel
from models_under_pressure.activations.embedded import embedded_model
from models_under_pressure.activations.extract import extract
from models_under_pressure.activations.layers import open_layers
from models_under_pressure.activations.model import load_model, model_of
from models_under_pressure.activations.tokens import RefusedError, check_refused
from models_under_pressure.core.errors import UserError, first_line
from models_under_pressure.core.layers import layers_of
from models_under_pressure.core.records import Record
from models_under_pressure.evaluation.scores import ScoreList
from models_under_pressure.probes.probe import Probe
from models_under_pressure.probes.tokens import ROLES

_BROKEN = "\N{REPLACEMENT CHARACTER}"
_LONGEST = 8
"""Tokens after which a broken character is taken to be broken in the text itself."""


@dataclass(frozen=True, eq=False)
class Decoder:
    """Turns ids into text; stands for a Hugging Face tokenizer in `token_texts`."""

    tokenizer: Any
    """A `tokenizers.Tokenizer`."""

    def decode(self, token_ids: Sequence[int], *, clean_up_tokenization_spaces: bool = False) -> str:
        """The text as it was, special tokens and spaces included."""
        if clean_up_tokenization_spaces:
            raise ValueError("a cleaned text is not the text that the model read")
        return self.tokenizer.decode(list(token_ids), skip_special_tokens=False)


def load_decoder(origin: Mapping[str, Any]) -> Decoder:
    """The tokenizer of the model that activations are of.

    Args:
        origin: attributes of the activations, `model` and `revision` among them.

    Raises:
        UserError: there is no fast tokenizer of the model, here or on the hub.
    """
    from tokenizers import Tokenizer

    name, revision = str(origin["model"]), str(origin.get("revision") or "main")
    folder = embedded_model() if name == EMBEDDED_MODEL else Path(name).expanduser()
    try:
        if folder.is_dir():
            return Decoder(Tokenizer.from_file(str(folder / "tokenizer.json")))
        return Decoder(Tokenizer.from_pretrained(name, revision=revision))
    except Exception as error:  # the library raises bare exceptions
        raise UserError(
            f"the tokenizer cannot be loaded ({first_line(error)}).",
            where=name,
            remedy="check the name and the network.",
        ) from error


class TokenTexts:
    """Text of each token as it comes, which together are the text of all.

    A character whose bytes are several tokens stands at the last of them; the others are empty.
    """

    def __init__(self, tokenizer: Any) -> None:
        """Start before the first token."""
        self._tokenizer, self._pending = tokenizer, list[int]()

    def add(self, token_id: int, *, is_last: bool = False) -> str:
        """The text of one more token; the last one takes what is pending."""
        self._pending.append(token_id)
        text = self._tokenizer.decode(self._pending, clean_up_tokenization_spaces=False)
        if text.endswith(_BROKEN) and len(self._pending) < _LONGEST and not is_last:
            return ""
        self._pending = []
        return text


def token_texts(token_ids: Sequence[int], tokenizer: Any) -> list[str]:
    """The texts of all tokens of a conversation; see `TokenTexts`."""
    texts = TokenTexts(tokenizer)
    return [texts.add(token_id, is_last=place == len(token_ids)) for place, token_id in enumerate(token_ids, start=1)]


CHUNK = 256
"""Conversations read by the model before their scores are given out."""

ROLE_NAMES = {code: name for name, code in ROLES.items()}
"""Code of a role -> its name."""

Choice = Literal["highest", "lowest", "most_wrong", "most_uncertain"]

_DISTANCES: dict[Choice, Callable[[ScoreList], Float[np.ndarray, "records"]]] = {
    "highest": lambda scores: -scores.logits,
    "lowest": lambda scores: scores.logits,
    "most_wrong": lambda scores: -np.abs(scores.probabilities - scores.labels),
    "most_uncertain": lambda scores: np.abs(scores.probabilities - 0.5),
}
"""Number that is smallest for the record chosen first."""


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
    """False positive rate of a stored threshold -> whether the logit reaches it; refused thresholds are left out."""
    tokens: TokenScores | None = None


def load_probe_model(probe: Probe, *, device: str = "auto", trust_remote_code: bool = False) -> LoadedModel:
    """Load the model that a probe reads, as far as its last layer, at the revision and precision of its training.

    Raises:
        UserError: the model is not found or gated, or needs code of its own that is not trusted.
    """
    origin = probe.provenance
    model = model_of(origin, device=device, trust_remote_code=trust_remote_code)
    if not layers_of(origin):
        raise UserError("the probe does not say which layer it reads.", remedy="train it again.")
    return load_model(model, layers=layers_of(origin))


def score_records(
    records: Sequence[Record],
    probe: Probe,
    model: LoadedModel,
    *,
    tokens: bool = False,
    refused: dict[str, str] | None = None,
) -> Iterator[Scored]:
    """Yield the score of each conversation, in their order; `tokens` adds the score of each of its tokens.

    A conversation that the chat template refuses goes to `refused`, with the reason, and has no score.

    Raises:
        RefusedError: once all others are scored, the chat template refuses a conversation, and there is no `refused`.
        UserError: the model is not the one of the probe; or tokens are asked of a probe that reads one vector per
            conversation.
    """
    if tokens and probe.provenance.get("keep", "tokens") != "tokens":
        raise UserError(
            "the probe reads one vector per conversation, so there is nothing to say of its tokens.",
            remedy="train a probe on a store that keeps all tokens.",
        )
    skipped: dict[str, str] = {} if refused is None else refused
    for start in range(0, len(records), CHUNK):
        chunk = records[start : start + CHUNK]
        with tempfile.TemporaryDirectory(prefix="mup-score-") as folder:
            try:
                store = _read(chunk, probe, model, Path(folder))
            except RefusedError as error:  # all of them
                skipped |= error.refused
                continue
            skipped |= store.attributes.get("refused", {})
            found = {scored.id: scored for scored in _score(store, probe, model.tokenizer if tokens else None)}
        yield from (found[record.id] for record in chunk if record.id in found)
    if refused is None:
        check_refused(skipped, allowed=0)


def to_row(scored: Scored) -> dict[str, Any]:
    """The columns of a score: numbers rounded to 6 places."""
    row: dict[str, Any] = {
        "ids": scored.id,
        "logit": round(scored.logit, 6),
        "probability": round(scored.probability, 6),
        "flagged": {f"fpr_{budget:g}": flag for budget, flag in scored.flagged.items()},
    }
    if (tokens := scored.tokens) is not None:
        columns = (column.tolist() for column in (tokens.roles, tokens.logits, tokens.contributions))
        row["tokens"] = [
            {"text": text, "role": ROLE_NAMES[role], "logit": round(logit, 6), "contribution": round(added, 6)}
            for text, role, logit, added in zip(tokens.texts, *columns, strict=True)
        ]
    return row


def choose_records(scores: ScoreList, choices: Sequence[Choice], most: int) -> dict[str, list[Choice]]:
    """The first `most` records of each choice: id -> the choices that it was made by, of equal ones the lower id.

    Only a record on the wrong side of 0.5 is wrong, so that a good monitor may have fewer of these.
    """
    found: dict[str, list[Choice]] = {}
    wrong = np.abs(scores.probabilities - scores.labels) > 0.5
    for choice in choices:
        distances = _DISTANCES[choice](scores)
        order = sorted(range(len(scores.ids)), key=lambda row: (float(distances[row]), scores.ids[row]))
        for row in [row for row in order if choice != "most_wrong" or wrong[row]][:most]:
            found.setdefault(scores.ids[row], []).append(choice)
    return found


def _read(records: Sequence[Record], probe: Probe, model: LoadedModel, folder: Path) -> Any:
    """The activations of some conversations, made as the probe's training data were."""
    origin = probe.provenance
    names = ("hook_point", "keep", "max_tokens", "truncation_side")
    known: dict[str, Any] = {name: origin[name] for name in names if name in origin}
    # what is rounded is what is kept on disk
    config = ExtractConfig.model_validate(known | {"allow_refused": len(records), "stored": "float32"})
    paths = {layer: folder / f"layer_{layer}.zarr" for layer in layers_of(origin)}
    extract(records, model=model, config=config, paths=paths)
    store: Any = open_layers(list(paths.values()))
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
        known = [row for row in probe.thresholds if row.refused is None]
        flagged = {row.budget: row.logit is not None and logit >= row.logit for row in known}
        yield Scored(id_, logit, float(probabilities[number]), flagged, tokens)
