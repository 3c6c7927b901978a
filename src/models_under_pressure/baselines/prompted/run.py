"""A model asked for the class: the likelihood of two replies, without generating anything (paper, section 3.3).

Rows of every dataset and wording are on disk before the next is computed, under a key of all that made them, so that
a stopped run continues, and an edited dataset alone is computed anew.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int64
from pydantic import Field

from models_under_pressure.activations.config import Dtype, ModelConfig, ModelDescription
from models_under_pressure.activations.flops import Architecture, forward_flops, read_architecture
from models_under_pressure.activations.model import (
    PACKAGE,
    describe_model,
    load_language_model,
    source_hash,
    tokenizer_fingerprint,
)
from models_under_pressure.activations.tokens import TokenisationReport
from models_under_pressure.baselines.data import LabelledRecords, to_scores
from models_under_pressure.baselines.prompted.likelihood import PromptReader
from models_under_pressure.baselines.prompted.questions import Prompt, Template, load_template, make_prompts
from models_under_pressure.core.concept import Concept
from models_under_pressure.core.display import progress
from models_under_pressure.core.files import read_json, read_jsonl, stable_hash, write_json, write_jsonl
from models_under_pressure.core.records import content_hash
from models_under_pressure.core.section import Section
from models_under_pressure.evaluation.metrics import auroc
from models_under_pressure.evaluation.scores import ScoreList

TemplateName = Literal["default", "single_letter", "prompt_at_end", "single_word"]
"""Files of that name in `baselines/templates`."""


class PromptConfig(Section):
    """One model that is asked, and how."""

    name: str
    """A short name from `models`, a Hugging Face id, or a local path."""
    dtype: Dtype = "auto"
    """Precision of the forward pass; likelihoods are float32 always."""
    quantization: Literal["none", "8bit", "4bit"] = "none"
    """Width of the weights (bitsandbytes)."""
    templates: tuple[TemplateName, ...] = Field(
        default=("default", "single_letter", "prompt_at_end", "single_word"), min_length=1
    )
    """Wordings tried on the dev sets; the best of them is used on the test sets."""
    max_tokens: int = Field(default=8192, ge=16)
    """Longest prompt with its reply, in tokens; of longer ones the conversation's end is cut and reported."""


class PromptBaselineConfig(Section):
    """Section `prompt_baseline` of params.yaml."""

    models: dict[str, PromptConfig]
    """Name of each prompted monitor -> its model, and how it is asked."""


@dataclass(frozen=True, eq=False)
class PromptedScores:
    """Log-likelihoods of the two replies for every record, in the order of the dataset."""

    high: Float[np.ndarray, "records"]
    low: Float[np.ndarray, "records"]
    tokens: Int64[np.ndarray, "records"]
    flops: Int64[np.ndarray, "records"]
    seconds: float | None
    """Wall time of tokenising and the forward passes; None for rows that were read from disk."""
    report: TokenisationReport = field(default_factory=TokenisationReport)
    """Changes to conversations; those truncated lost their end."""

    @property
    def logits(self) -> Float[np.ndarray, "records"]:
        """Log of the odds of the positive reply."""
        return self.high - self.low

    @property
    def probabilities(self) -> Float[np.ndarray, "records"]:
        """Softmax over the two replies: the share of the positive one."""
        return np.exp(self.high - np.logaddexp(self.high, self.low))


def to_list(data: LabelledRecords, scores: PromptedScores, monitor: str, *, seed: int) -> ScoreList:
    """The scores in the form that every method has."""
    return to_scores(
        data,
        monitor,
        seed=seed,
        logits=scores.logits,
        probabilities=scores.probabilities,
        tokens=scores.tokens,
        flops=scores.flops,
    )


_COLUMNS = {
    "high_log_likelihood": "high",
    "low_log_likelihood": "low",
    "logit": "logits",
    "probability": "probabilities",
    "tokens": "tokens",
    "flops": "flops",
}
"""Column of the rows on disk -> attribute of `PromptedScores`."""


def write_scored(path: Path, scores: PromptedScores, ids: Sequence[str], *, key: str) -> None:
    """Write one row per record, then beside it what they were made from: a crash leaves no rows without it."""
    description = path.with_suffix(".json")
    description.unlink(missing_ok=True)
    columns = [getattr(scores, name).tolist() for name in _COLUMNS.values()]
    rows = zip(ids, *columns, strict=True)
    write_jsonl(path, ({"id": id_} | dict(zip(_COLUMNS, row, strict=True)) for id_, *row in rows))
    write_json(description, {"key": key} | scores.report.row)


def read_scored(path: Path, ids: Sequence[str], *, key: str) -> PromptedScores | None:
    """Read rows that were made from the same records, model, wording and code; None if there are none."""
    description = path.with_suffix(".json")
    if not description.exists():
        return None
    about: dict[str, Any] = read_json(description)
    if about.get("key") != key:
        return None
    rows = {row["id"]: row for _, row in read_jsonl(path)}
    if list(rows) != list(ids):
        logging.getLogger(__name__).warning("%s does not hold the rows that it should; computed again", path)
        return None
    values = {name: np.array([row[column] for row in rows.values()]) for column, name in _COLUMNS.items()}
    report = TokenisationReport(
        tuple(about["truncated"]), about["normalised"], tuple(about["neutralised"]), about.get("left_out", {})
    )
    return PromptedScores(values["high"], values["low"], values["tokens"], values["flops"], None, report)


AUROCs = Mapping[str, Mapping[str, float]]
"""Template -> dataset -> AUROC."""


class PromptedMonitor:
    """A model and its rows on disk; the weights are loaded when the first missing row asks for them."""

    def __init__(self, config: PromptConfig, folder: Path, *, model: str, concept: Concept) -> None:
        self.config = config
        self._concept = concept
        self._folder = folder
        self._source = ModelConfig(name=model, dtype=config.dtype, quantization=config.quantization)
        self._seconds: dict[Path, float | None] = {}

    def score(self, data: LabelledRecords, template: str) -> PromptedScores:
        """Ask one wording of every record, or read what was answered before.

        Raises:
            UserError: the model cannot be loaded, refuses the chat, or has no memory for a record.
        """
        wording = load_template(template, self._concept)
        path = self._folder / data.name / f"{template}.jsonl"
        ids = [record.id for record in data.records]
        key = self._key(data, wording)
        found = read_scored(path, ids, key=key)
        if found is None:
            found = score_prompts(self._reader, self._architecture, data, wording, self.config)
            write_scored(path, found, ids, key=key)
            self._seconds[path] = found.seconds
        return replace(found, seconds=self._seconds.get(path))

    @cached_property
    def _description(self) -> ModelDescription:
        return describe_model(self._source)

    @cached_property
    def _reader(self) -> PromptReader:
        return PromptReader(load_language_model(self._source))

    @cached_property
    def _architecture(self) -> Architecture:
        return read_architecture(self._source)

    def _key(self, data: LabelledRecords, template: Template) -> str:
        model = self._description
        tokenizer = [tokenizer_fingerprint(model.tokenizer), model.tokenizer.chat_template]
        weights = [model.revision, model.dtype, self.config.quantization]
        return stable_hash(
            content_hash(data.records), weights, tokenizer, asdict(template), self.config.max_tokens, _code_hash()
        )


def score_prompts(
    reader: PromptReader, architecture: Architecture, data: LabelledRecords, template: Template, config: PromptConfig
) -> PromptedScores:
    """Ask one wording of every record.

    Raises:
        UserError: the chat template refuses the question, or memory does not hold a record.
    """
    start = time.perf_counter()
    model = reader.model
    prompts, report = make_prompts(
        data.records, template, model.tokenizer, name=model.name, max_tokens=config.max_tokens
    )
    high, low = np.zeros(len(prompts)), np.zeros(len(prompts))
    with progress(len(prompts), what=f"{data.name}, {template.name}", unit="records") as shown:
        for index, one in reader.likelihoods(prompts):
            high[index], low[index] = one.high, one.low
            shown.advance()
    if report.truncated:
        logging.getLogger(__name__).warning(
            "%s: %d conversations lost their end to fit %d tokens", data.name, len(report.truncated), config.max_tokens
        )
    return PromptedScores(
        high,
        low,
        tokens=np.array([prompt.tokens for prompt in prompts], dtype=np.int64),
        flops=prompt_flops(architecture, prompts),
        seconds=round(time.perf_counter() - start, 3),
        report=report,
    )


def prompt_flops(architecture: Architecture, prompts: Sequence[Prompt]) -> np.ndarray:
    """Operations of each prompt by itself: one pass over what its replies share, and over the rest of each.

    What prompts share with one another in a batch is counted for each of them, so that a cost has no neighbours.
    """
    shared, high, low = (
        np.array([len(getattr(prompt, name)) for prompt in prompts], dtype=np.int64)
        for name in ("shared", "high", "low")
    )
    first = forward_flops(architecture, shared + high - 1, head_tokens=high)
    return first + forward_flops(architecture, low - 1, past=shared, head_tokens=low - 1)


def choose_template(
    score: Callable[[LabelledRecords, str], PromptedScores], dev: Sequence[LabelledRecords], templates: Sequence[str]
) -> tuple[str, AUROCs]:
    """The wording with the highest mean AUROC over the dev sets, and every AUROC; the first of equals.

    A single wording is chosen without a look at its scores.
    """
    found = {
        template: {
            data.name: round(auroc(score(data, template).logits, data.labels), 4)
            for data in dev
            if data.labels.any() and not data.labels.all()
        }
        for template in templates
    }
    if len(templates) == 1 or not any(found.values()):
        return templates[0], found
    return max(templates, key=lambda template: fmean(found[template].values())), found


def _code_hash(package: Path = PACKAGE) -> str:
    """Hash of the source that makes rows: those of other code are computed again."""
    room = package / "baselines"
    return source_hash(package / "activations", package / "core" / "records.py", room / "data.py", room / "prompted")
