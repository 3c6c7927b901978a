"""The running scores of one conversation, and what came of it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Int8, Int32

from models_under_pressure.core.layers import layers_of
from models_under_pressure.core.records import Record, to_row
from models_under_pressure.probes.probe import Probe
from models_under_pressure.probes.streaming import RunningScore

if TYPE_CHECKING:
    import torch

Action = Literal["finished", "length", "stopped"]
"""Why a reply ends: the model ended it, it is as long as allowed, or a flag stopped it."""


@dataclass(frozen=True)
class Step:
    """One token of a reply, scored."""

    token_id: int
    text: str
    """Text of the token; a character made of several tokens stands at the last of them."""
    alone: Mapping[str, float | None]
    """Probe -> logit of the token on its own; None if the probe does not see its role."""
    logits: Mapping[str, float | None]
    """Probe -> logit of the conversation up to this token."""
    probabilities: Mapping[str, float | None]
    """Probe -> calibrated probability of the same."""
    flagged: tuple[str, ...]
    """Probes whose logit reaches their threshold here."""


@dataclass(frozen=True)
class Outcome:
    """A conversation that is over, with the scores that it has as a whole."""

    record: Record
    """The conversation with the reply; no label."""
    action: Action
    logits: Mapping[str, float | None]
    probabilities: Mapping[str, float | None]
    flagged: tuple[str, ...]
    """Probes whose logit reached their threshold at a token that was checked, or at the end."""
    tokens: int
    """Tokens of the reply."""
    probes: Mapping[str, str] = field(default_factory=dict[str, str])
    """Probe -> SHA-256 of its weights."""

    @property
    def row(self) -> dict[str, Any]:
        """A line of a log: the conversation as a record, what was done and why."""
        scores = {
            name: {
                "logit": self.logits[name],
                "probability": self.probabilities[name],
                "flagged": name in self.flagged,
                "weights": self.probes[name],
            }
            for name in self.logits
        }
        return to_row(self.record) | {"action": self.action, "reply_tokens": self.tokens, "scores": scores}


class Scores:
    """The running scores of one conversation."""

    def __init__(
        self, probes: Mapping[str, Probe], thresholds: Mapping[str, float | None], ever: Iterable[str] = ()
    ) -> None:
        """Start before the first token.

        Args:
            probes: name -> probe.
            thresholds: name -> logit from which it flags; None if it flags nothing.
            ever: probes that flagged already.
        """
        self._thresholds = thresholds
        self._running = {name: RunningScore(probe) for name, probe in probes.items()}
        self.ever = set(ever)
        """Probes that flagged at a checked token."""

    @property
    def logits(self) -> dict[str, float | None]:
        """Logit of the conversation so far."""
        return {name: score.logit for name, score in self._running.items()}

    @property
    def probabilities(self) -> dict[str, float | None]:
        """Probability of the conversation so far."""
        return {name: score.probability for name, score in self._running.items()}

    @property
    def alone(self) -> dict[str, float | None]:
        """Logit of the latest token on its own."""
        return {name: score.latest for name, score in self._running.items()}

    @property
    def flagged(self) -> tuple[str, ...]:
        """Probes whose logit reaches their threshold now."""
        return tuple(
            name
            for name, logit in self.logits.items()
            if logit is not None and (limit := self._thresholds[name]) is not None and logit >= limit
        )

    def update(
        self,
        states: "Mapping[int, torch.Tensor]",
        ids: Int32[np.ndarray, "tokens"],
        roles: Int8[np.ndarray, "tokens"],
    ) -> None:
        """Take the tokens of a forward pass; `states` are [1, tokens, hidden] of each layer."""
        arrays = {layer: state[0].float().cpu().numpy() for layer, state in states.items()}
        for score in self._running.values():
            own = [arrays[layer] for layer in layers_of(score.probe.provenance)]
            score.update(own[0] if len(own) == 1 else np.concatenate(own, axis=1), roles.tolist(), ids)
