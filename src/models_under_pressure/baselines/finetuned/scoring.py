"""A finished finetuned model as a monitor."""

from pathlib import Path

import numpy as np

from models_under_pressure.activations.flops import forward_flops
from models_under_pressure.baselines.data import LabelledRecords, to_scores
from models_under_pressure.baselines.finetuned.data import tokenised_split
from models_under_pressure.baselines.finetuned.persistence import load_finetuned
from models_under_pressure.baselines.finetuned.reading import score
from models_under_pressure.baselines.finetuned.run import architecture_of
from models_under_pressure.evaluation.scores import ScoreList

_CLASSES = 2


class Monitor:
    """A finetuned model, loaded once for many datasets.

    Raises:
        UserError: see `load_finetuned`.
    """

    def __init__(self, directory: Path, *, token: str | None = None) -> None:
        self._classifier, self._description = load_finetuned(directory, token=token)
        self._architecture = architecture_of(self._description.config, token=token)

    def score(self, data: LabelledRecords, name: str) -> ScoreList:
        """Score labelled records under a name; each record's score is the same in any company.

        The cost of a record is the model's forward pass and the head; adapters are too small to count.

        Raises:
            UserError: the chat template refuses a record, or a score is not finite.
        """
        config = self._description.config
        split = tokenised_split(data, self._classifier.loaded, config)
        logits = score(self._classifier, split.records, batch_tokens=config.batch_tokens)
        return to_scores(
            data,
            name,
            seed=self._description.seed,
            logits=logits,
            probabilities=np.exp(-np.logaddexp(0.0, -logits)),
            tokens=split.lengths,
            flops=forward_flops(self._architecture, split.lengths, layer=config.blocks)
            + 2 * _CLASSES * self._architecture.hidden,
        )
