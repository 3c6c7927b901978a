"""Scores of a guard model: how much more it leans to the verdict of a violation, without generating anything."""

import logging
import time

import numpy as np

from models_under_pressure.activations.config import ModelConfig
from models_under_pressure.activations.flops import read_architecture
from models_under_pressure.activations.model import load_language_model
from models_under_pressure.baselines.data import LabelledRecords, to_scores
from models_under_pressure.baselines.guard.reading import GuardConfig, make_prompts
from models_under_pressure.baselines.prompted.likelihood import PromptReader
from models_under_pressure.baselines.prompted.run import prompt_flops
from models_under_pressure.core.display import progress
from models_under_pressure.core.section import Section
from models_under_pressure.evaluation.scores import ScoreList

_EXPECTED = 0.5
"""Share of the probability that a guard gives its two verdicts where it is about to say one of them."""


class GuardBaselineConfig(Section):
    """Section `guard_baseline` of experiments/params.yaml."""

    models: dict[str, GuardConfig]
    """Name of each guard -> its model and how it is read; its scores are named `guard_<name>`."""


class GuardMonitor:
    """A guard model, loaded once."""

    def __init__(self, config: GuardConfig, *, model: str) -> None:
        self.config = config
        source = ModelConfig(name=model, dtype=config.dtype, quantization=config.quantization)
        self._architecture = read_architecture(source)
        self._reader = PromptReader(load_language_model(source))

    def score(self, data: LabelledRecords, method: str, *, seed: int) -> tuple[ScoreList, float]:
        """Scores of a dataset, and the seconds that they took.

        The logit is the difference of the logits of the two verdicts' first tokens, as the models' cards have it; the
        probability is the softmax over the two.

        Raises:
            UserError: see `make_prompts`; or memory does not hold a record.
        """
        start = time.perf_counter()
        prompts, report = make_prompts(data.records, self.config, self._reader.model.tokenizer)
        high, low = np.zeros(len(prompts)), np.zeros(len(prompts))
        with progress(len(prompts), what=f"{data.name}, {method}", unit="records") as shown:
            for index, one in self._reader.likelihoods(prompts):
                high[index], low[index] = one.high, one.low
                shown.advance()
        seconds = round(time.perf_counter() - start, 3)
        log = logging.getLogger(__name__)
        if report.truncated:
            tokens = self.config.max_tokens
            log.warning(
                "%s: %d conversations lost their end to fit %d tokens", data.name, len(report.truncated), tokens
            )
        for change, count in sorted(report.normalised.items()):
            log.warning("%s: changed for the chat template: %s (%d)", data.name, change, count)
        either = np.logaddexp(high, low)
        if (share := float(np.exp(np.median(either)))) < _EXPECTED:
            told = "%s: the two verdicts get %.1e of the probability: is `prefix` what %s says before its verdict?"
            log.warning(told, data.name, share, self.config.name)
        scores = to_scores(
            data,
            method,
            seed=seed,
            logits=high - low,
            probabilities=np.exp(high - either),
            tokens=[prompt.tokens for prompt in prompts],
            flops=prompt_flops(self._architecture, prompts),
        )
        return scores, seconds
