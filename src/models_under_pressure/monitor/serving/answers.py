"""Replies in the form of OpenAI's API, whole and in chunks; what it has no field for stands under `mup`."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from models_under_pressure.core.conversation import ToolCall
from models_under_pressure.monitor.live import Monitor
from models_under_pressure.monitor.running import Step
from models_under_pressure.monitor.serving.asked import Chat
from models_under_pressure.monitor.serving.spoken import Piece, read_call
from models_under_pressure.monitor.serving.work import Ended, Said

_FINISH = {"finished": "stop", "length": "length", "stopped": "content_filter", "left": "stop"}
"""Why a reply ends, in OpenAI's words."""


class Answer:
    """The answer to one request for a reply."""

    def __init__(self, chat: Chat, monitor: Monitor, name: str, *, scores: bool) -> None:
        """Begin an answer.

        Args:
            chat: what was asked.
            monitor: its probes make probabilities of logits.
            name: name of the model.
            scores: whether tokens come with their scores.
        """
        self._chat, self._monitor, self._scores = chat, monitor, scores
        self._head = {"id": chat.id, "created": int(time.time()), "model": name}
        self._calls = 0

    def opening(self) -> dict[str, Any]:
        """The chunk that names the speaker."""
        return self._chunk({"role": "assistant", "content": ""})

    def chunk(self, said: Said) -> dict[str, Any] | None:
        """The chunk of a token; None if there is nothing to tell yet."""
        if not said.pieces and not self._scores:
            return None
        return self._chunk(self._delta(said.pieces), mup=self._token(said.step))

    def closing(self, ended: Ended) -> Iterator[dict[str, Any]]:
        """The last of the text, and the chunk that says why the reply ended."""
        if ended.pieces:
            yield self._chunk(self._delta(ended.pieces))
        yield self._chunk({}, finish=self._finish(ended), mup=self._outcome(ended))

    def usage(self, ended: Ended) -> dict[str, Any]:
        """The chunk that counts the tokens."""
        return self._head | {"object": "chat.completion.chunk", "choices": [], "usage": _usage(ended)}

    def whole(self, said: Sequence[Said], ended: Ended) -> dict[str, Any]:
        """The answer in one piece."""
        pieces = [piece for one in (*said, ended) for piece in one.pieces]
        message: dict[str, Any] = {"role": "assistant", "content": None} | self._delta(pieces)
        for call in message.get("tool_calls", ()):
            del call["index"]  # only chunks count the calls
        choice: dict[str, Any] = {"index": 0, "message": message, "finish_reason": self._finish(ended)}
        if self._scores:
            choice["mup"] = {"tokens": [self._token(one.step) for one in said]} | self._outcome(ended)
        return self._head | {"object": "chat.completion", "choices": [choice], "usage": _usage(ended)}

    def _chunk(
        self, delta: dict[str, Any], *, finish: str | None = None, mup: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        choice: dict[str, Any] = {"index": 0, "delta": delta, "finish_reason": finish}
        if self._scores and mup is not None:
            choice["mup"] = mup
        return self._head | {"object": "chat.completion.chunk", "choices": [choice]}

    def _delta(self, pieces: Sequence[Piece]) -> dict[str, Any]:
        delta: dict[str, Any] = {}
        for kind, name in (("reasoning", "reasoning_content"), ("content", "content")):
            if text := "".join(text for own, text in pieces if own == kind):
                delta[name] = text
        bodies = [read_call(text) for kind, text in pieces if kind == "call"]
        if calls := [self._call(call) for call in bodies if call is not None]:
            delta["tool_calls"] = calls
        return delta

    def _call(self, call: ToolCall) -> dict[str, Any]:
        number, self._calls = self._calls, self._calls + 1
        id_ = f"call_{self._chat.id.removeprefix('chatcmpl-')[:24]}_{number}"
        function = {"name": call.name, "arguments": call.arguments}
        return {"index": number, "id": id_, "type": "function", "function": function}

    def _finish(self, ended: Ended) -> str:
        reason = _FINISH[ended.outcome.action]
        return "tool_calls" if reason == "stop" and self._calls else reason

    def _token(self, step: Step) -> dict[str, Any]:
        return {
            "text": step.text,
            "token": {name: self._probability(name, logit) for name, logit in step.alone.items()},
            "running": dict(step.probabilities),
            "flagged": list(step.flagged),
        }

    def _probability(self, probe: str, logit: float | None) -> float | None:
        return None if logit is None else float(self._monitor.probes[probe].probabilities(np.array([logit]))[0])

    def _outcome(self, ended: Ended) -> dict[str, Any]:
        row = ended.outcome.row
        return {"action": row["action"], "scores": row["scores"], "seed": self._chat.seed}


def _usage(ended: Ended) -> dict[str, int]:
    prompt, reply = ended.prompt_tokens, ended.outcome.tokens
    return {"prompt_tokens": prompt, "completion_tokens": reply, "total_tokens": prompt + reply}


def model_row(monitor: Monitor, name: str, *, created: int, most: int) -> dict[str, Any]:
    """The model as `/v1/models` lists it, with its probes."""
    probes: dict[str, Mapping[str, Any]] = {}
    for probe_name, probe in monitor.probes.items():
        limit = monitor.thresholds[probe_name]
        least = None if limit is None else float(probe.probabilities(np.array([limit]))[0])
        layer = probe.provenance.get("layer")
        threshold = {"logit": limit, "probability": least}
        probes[probe_name] = {"family": probe.family, "layer": layer, "threshold": threshold}
    mup = {
        "revision": monitor.model.revision,
        "context": monitor.longest,
        "longest_reply": most,
        "probes": probes,
    }
    return {"id": name, "object": "model", "created": created, "owned_by": "mup", "mup": mup}
