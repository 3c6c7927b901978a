"""A probe's score of a conversation that is still being written."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from models_under_pressure.activations.ragged import TEMPLATE
from models_under_pressure.probes.families import FAMILIES
from models_under_pressure.probes.pooling import Stream
from models_under_pressure.probes.probe import Probe
from models_under_pressure.probes.tokens import ROLES, seen_roles


class RunningScore:
    """The logit of a conversation as far as it goes; a token costs the same whenever it comes, and none is kept.

    After each token it is the logit that the probe gives the tokens up to there (`Probe.decision_function`).
    """

    def __init__(self, probe: Probe) -> None:
        """Start before the first token."""
        self.probe = probe
        self.logit: float | None = None
        """Logit of the tokens so far; None while the probe has seen none."""
        self.latest: float | None = None
        """Logit of the latest token alone; None if the probe does not see it."""
        self._seen = frozenset(ROLES[role] for role in seen_roles(probe.config.tokens))
        self._sentence_ends = frozenset[int](() if probe.sentence_end_ids is None else probe.sentence_end_ids.tolist())
        self._stream = self._start()
        self._is_first = True

    @property
    def probability(self) -> float | None:
        """Calibrated probability of the tokens so far."""
        return None if self.logit is None else float(self.probe.probabilities(np.array([self.logit]))[0])

    def update(
        self,
        activations: Float[np.ndarray, "tokens hidden"],
        roles: Sequence[int],
        token_ids: Int[np.ndarray, "tokens"],
    ) -> list[float | None]:
        """Take more tokens, any number of them.

        Returns:
            The logit after each.

        Raises:
            ValueError: the activations are of another width than the probe's, or not finite.
        """
        if activations.shape[1] != self.probe.hidden:
            raise ValueError(f"activations are {activations.shape[1]} wide, the probe reads {self.probe.hidden}")
        values = np.asarray(activations, dtype=np.float64)
        if not np.isfinite(values).all():
            raise ValueError("activations are NaN or infinite")
        projections = self.probe.transformed(values @ self.probe.weights["projection"] + self.probe.weights["bias"])
        return [
            self._take(projection, int(role), int(token_id) in self._sentence_ends)
            for projection, role, token_id in zip(projections, roles, token_ids, strict=True)
        ]

    def _take(self, projection: Float[np.ndarray, "columns"], role: int, closes_sentence: bool) -> float | None:
        is_first, self._is_first = self._is_first, False
        self.latest = None
        if role in self._seen:
            held_back = is_first and role == TEMPLATE and not self.probe.config.first_token
            # the first token counts only while there is no other: see `probes.tokens.select`
            stream = self._start() if held_back else self._stream
            self.logit = stream.update(projection, closes_sentence)
            self.latest = self._start().update(projection, closes_sentence)
        return self.logit

    def _start(self) -> Stream:
        return FAMILIES[self.probe.family].stream(self.probe.config)
