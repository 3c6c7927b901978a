"""A model asked for the stakes: the likelihood of two replies, without generating anything (paper, section 3.3).

Rows of every dataset and wording are on disk before the next is computed, under a key of all that made them, so that
a stopped run continues, and an edited dataset alone is computed anew.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from statistics import fmean

import numpy as np

from models_under_pressure.activations.config import ModelConfig
from models_under_pressure.activations.fingerprint import tokenizer_fingerprint
from models_under_pressure.activations.flops import Architecture, forward_flops, prefill_flops, read_architecture
from models_under_pressure.activations.model import ModelDescription, describe_model, load_language_model
from models_under_pressure.baselines.data import LabelledRecords
from models_under_pressure.baselines.prompted_config import PromptConfig
from models_under_pressure.baselines.prompted_likelihood import PromptReader
from models_under_pressure.baselines.prompted_prompts import Prompt, make_prompts
from models_under_pressure.baselines.prompted_scores import PromptedScores, read_scored, write_scored
from models_under_pressure.baselines.prompted_template import Template, load_template
from models_under_pressure.core.files import stable_hash
from models_under_pressure.core.progress import progress
from models_under_pressure.core.records import content_hash
from models_under_pressure.evaluation.metrics import auroc

AUROCs = Mapping[str, Mapping[str, float]]
"""Template -> dataset -> AUROC."""


class PromptedMonitor:
    """A model and its rows on disk; the weights are loaded when the first missing row asks for them."""

    def __init__(self, config: PromptConfig, folder: Path, *, model: str, token: str | None = None) -> None:
        self.config = config
        self._folder = folder
        self._source = ModelConfig(name=model, dtype=config.dtype, quantization=config.quantization)
        self._token = token
        self._seconds: dict[Path, float | None] = {}

    def score(self, data: LabelledRecords, template: str) -> PromptedScores:
        """Ask one wording of every record, or read what was answered before.

        Raises:
            UserError: the model cannot be loaded, refuses the chat, or has no memory for a record.
        """
        wording = load_template(template)
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
        return describe_model(self._source, token=self._token)

    @cached_property
    def _reader(self) -> PromptReader:
        return PromptReader(load_language_model(self._source, token=self._token))

    @cached_property
    def _architecture(self) -> Architecture:
        return read_architecture(self._source, token=self._token)

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
    budget = None if config.batch_tokens == "auto" else config.batch_tokens
    high, low = np.zeros(len(prompts)), np.zeros(len(prompts))
    with progress(len(prompts), what=f"{data.name}, {template.name}", unit="records") as shown:
        for index, one in reader.likelihoods(prompts, budget=budget):
            high[index], low[index] = one.high, one.low
            shown.advance()
    if report.truncated:
        logging.getLogger(__name__).warning(
            "%s: %d conversations lost their end to fit %d tokens", data.name, len(report.truncated), config.max_tokens
        )
    return PromptedScores(
        high=high,
        low=low,
        tokens=np.array([prompt.tokens for prompt in prompts], dtype=np.int64),
        flops=prompt_flops(architecture, prompts),
        seconds=round(time.perf_counter() - start, 3),
        truncated=report.truncated,
        normalised=report.normalised,
        neutralised=report.neutralised,
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
    return first + prefill_flops(architecture, shared, low - 1, head_tokens=low - 1)


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


def _code_hash() -> str:
    """Hash of the source that makes rows: rows of other code are not believed."""
    sources = [
        file.read_text("utf-8")
        for room in ("activations", "baselines")
        for file in sorted(files(f"models_under_pressure.{room}").iterdir(), key=lambda file: file.name)
        if file.name.endswith(".py") and (room == "activations" or file.name.startswith("prompted"))
    ]
    return stable_hash(sources)
