"""A language model under watch: its own forward pass scores each token, and may be stopped."""

import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from functools import cached_property
from inspect import signature
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from jaxtyping import Int8, Int32

from models_under_pressure.activations.blocks import Taps, decoder_of, tapped
from models_under_pressure.activations.chat import ChatTemplate
from models_under_pressure.activations.config import LoadedModel
from models_under_pressure.activations.model import load_language_model, model_of
from models_under_pressure.activations.ragged import ASSISTANT, TEMPLATE
from models_under_pressure.activations.tokens import tokenise
from models_under_pressure.core.conversation import Message
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import checked
from models_under_pressure.core.layers import layers_of
from models_under_pressure.core.records import Record
from models_under_pressure.monitor.running import Action, Escalation, Judge, Outcome, Scores, Step, with_reply
from models_under_pressure.monitor.sampling import Sampling
from models_under_pressure.monitor.score import TokenTexts
from models_under_pressure.probes.calibration import stored_threshold
from models_under_pressure.probes.data import check_same_origin
from models_under_pressure.probes.probe import Probe, weights_hash

if TYPE_CHECKING:
    import torch


class TooLongError(UserError):
    """A conversation leaves no room for a reply, or is longer than the model and its probes read."""


_Read: TypeAlias = tuple[Int32[np.ndarray, "tokens"], Int8[np.ndarray, "tokens"]]
"""Token ids and roles."""


def load_monitor(probes: Mapping[str, Probe], *, device: str = "auto", fpr: float = 0.01) -> "Monitor":
    """Load the whole model that probes read, at the revision and precision of their training.

    Raises:
        UserError: the model is not found or gated, or the probes read different models.
    """
    first = next(iter(probes.values()))
    return Monitor(probes, load_language_model(model_of(first.provenance, device=device)), fpr=fpr)


class Monitor:
    """Probes and the language model that they watch."""

    def __init__(self, probes: Mapping[str, Probe], model: LoadedModel, *, fpr: float = 0.01) -> None:
        """Watch with some probes, each flagging from its stored threshold at a false positive rate.

        Args:
            probes: name -> probe, one or more.
            model: from `load_language_model`.
            fpr: false positive rate whose threshold flags; a probe without it flags nothing.

        Raises:
            UserError: a probe reads another model, or one vector per conversation; or its control set is too small for
                this rate.
        """
        if not probes:
            raise UserError("no probe is given.", remedy="name at least one.")
        self.model, self.probes = model, dict(probes)
        rows = {name: stored_threshold(name, probe.thresholds, fpr) for name, probe in probes.items()}
        self.thresholds = {name: None if row is None else row.logit for name, row in rows.items()}
        template = ChatTemplate(model.tokenizer, model.name)
        origin = {
            **model.origin,
            "template_hash": template.hash,
            "keep": "tokens",
        }
        hooks = {str(probe.provenance.get("hook_point")) for probe in probes.values()}
        if len(hooks) > 1:
            raise UserError("the probes read different hook points.", remedy="watch with those of one kind.")
        self.hook_point: Any = hooks.pop()
        for name, probe in probes.items():
            own = {key: probe.provenance.get(key) for key in ("layer", "layers", "hook_point")}
            check_same_origin(probe.provenance, origin | own, what=f"the states that the probe {name!r} would read")
        self._hashes = {name: weights_hash(probe) for name, probe in probes.items()}
        limits = [int(probe.provenance.get("max_tokens", 8192)) for probe in probes.values()]
        self._max_tokens = min(limits)
        context: int | None = getattr(model.model.config.get_text_config(), "max_position_embeddings", None)
        closing = template.skeleton(("user", "assistant"))
        behind = closing.literals[-1] if closing else ""
        reserved = len(model.tokenizer(behind, add_special_tokens=False)["input_ids"])
        self.longest = min(self._max_tokens, context - reserved) if context else self._max_tokens
        """Tokens of the longest conversation that the model and the probes read, with what closes a reply."""

    def generate(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        name: str = "live",
        max_new_tokens: int = 512,
        every: int = 1,
        on_flag: Callable[[Step], bool] | None = None,
        judge: Judge | None = None,
        seed: int | None = None,
        **sampling: Any,
    ) -> "Reply":
        """Write a reply: iterate over its tokens, each with its scores, then ask for its `outcome`.

        A token is scored by the forward pass that writes the next one, so it comes one token late. At the end the
        conversation as a whole is scored as `mup score` scores it, from the same states where the tokens are the same.

        Args:
            messages: the conversation so far.
            tools: definitions of tools.
            name: id of the conversation.
            max_new_tokens: longest reply, in tokens.
            every: tokens between two checks of the thresholds.
            on_flag: asked when a threshold is first reached at a checked token whether to go on. None reports only.
            judge: asked the same of the conversation so far, in place of `on_flag`; what it says is in the outcome and
                the log. `monitor.judging` has judges: a model behind an API, and a second probe.
            seed: of the sampling; None draws from the global generator of torch.
            sampling: fields of `Sampling`, which mean what they mean in `transformers`' `generate`.

        Raises:
            TooLongError: the conversation fills the context.
            UserError: the conversation is refused by the chat template, a setting is unknown, or there are both
                `on_flag` and a judge.
        """
        if on_flag is not None and judge is not None:
            raise UserError("`on_flag` and `judge` both decide what a flag does.", remedy="give one of them.")
        record = Record(name, tuple(messages), tools=tuple(tools))
        read, opening = self.read(record, cut=False), self._opening
        ids = np.concatenate([read[0], opening]), np.append(read[1], [TEMPLATE] * len(opening))
        room = self.longest - len(ids[0])
        if room < 1:
            raise self._too_long(record, len(ids[0]))
        how = checked(Sampling, sampling | {"seed": seed})
        return Reply(self, record, ids, min(max_new_tokens, room), every, on_flag, judge, how)

    def score(self, record: Record) -> Outcome:
        """Score a finished conversation in one forward pass, as `mup score` does.

        Raises:
            TooLongError: it is longer than the model and the probes read.
            UserError: the chat template refuses it.
        """
        ids, roles = self.read(record, cut=False)
        if len(ids) > self.longest:
            raise self._too_long(record, len(ids))
        scores = Scores(self.probes, self.thresholds)
        with tapped(decoder_of(self.model.model), self.layers, self.hook_point) as taps:
            scores.update(taps.forward(input_ids=self.tensor(ids)), ids, roles)
        return self.outcome(record, "finished", scores, 0)

    def _too_long(self, record: Record, tokens: int) -> TooLongError:
        problem = f"the conversation has {tokens} tokens, and the model and the probes read {self.longest}."
        return TooLongError(problem, where=record.id, remedy="shorten it.")

    @cached_property
    def _opening(self) -> Int32[np.ndarray, "tokens"]:
        """Tokens with which the chat template begins a reply."""
        tokenizer = self.model.tokenizer
        asked = [{"role": "user", "content": "a"}]
        closed, opened = "", "assistant: "
        if getattr(tokenizer, "chat_template", None):
            closed, opened = (
                str(tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=opens))
                for opens in (False, True)
            )
        if not opened.startswith(closed):
            problem = "the chat template changes the conversation where a reply begins."
            raise UserError(problem, where=self.model.name, remedy="watch another model.")
        return np.array(tokenizer(opened[len(closed) :], add_special_tokens=False)["input_ids"], dtype=np.int32)

    def read(self, record: Record, *, cut: bool = True) -> _Read:
        """Token ids and roles of a conversation; `cut` keeps as many as the probes read."""
        limits: dict[str, Any] = {"max_tokens": self._max_tokens if cut else sys.maxsize, "truncation_side": "right"}
        (read,), _ = tokenise([record], self.model.tokenizer, name=self.model.name, **limits)
        return read.token_ids, read.roles

    @property
    def layers(self) -> list[int]:
        """The layers that the probes read."""
        return sorted({layer for probe in self.probes.values() for layer in layers_of(probe.provenance)})

    def tensor(self, ids: Int32[np.ndarray, "tokens"]) -> "torch.Tensor":
        """Token ids as a batch of one, [1, tokens], where the model takes it."""
        import torch

        device = self.model.model.get_input_embeddings().weight.device
        return torch.as_tensor(ids[None].astype(np.int64), device=device)

    def outcome(
        self,
        record: Record,
        action: Action,
        scores: Scores,
        tokens: int,
        escalations: Sequence[Escalation] = (),
    ) -> Outcome:
        """What came of a conversation with a reply of so many tokens."""
        flagged = scores.ever.union(scores.flagged)
        told = tuple(name for name in self.probes if name in flagged)
        found = record, action, scores.logits, scores.probabilities, told, tokens, self._hashes
        return Outcome(*found, tuple(escalations))


class Reply:
    """A reply while it is written; iterate over it once."""

    outcome: Outcome | None = None
    """What came of the conversation; None before the last token, and where the iteration is given up."""

    def __init__(
        self,
        monitor: Monitor,
        record: Record,
        prompt: _Read,
        longest: int,
        every: int,
        on_flag: Callable[[Step], bool] | None,
        judge: Judge | None,
        sampling: Sampling,
    ) -> None:
        """See `Monitor.generate`."""
        self._monitor, self._record, self._every, self._on_flag = monitor, record, every, on_flag
        self._longest, self._sampling, self._judge = longest, sampling, judge
        self._ids, self._roles = prompt
        self._prompt, self._seen = len(self._ids), 0
        self._special = set(monitor.model.tokenizer.all_special_ids)
        self._scores = Scores(monitor.probes, monitor.thresholds)
        self._texts = TokenTexts(monitor.model.tokenizer)
        self._stopped = False
        self._end: tuple[Action, str | None] | None = None
        self._escalations: list[Escalation] = []

    @property
    def prompt_tokens(self) -> int:
        """Tokens before the reply, with those that open it."""
        return self._prompt

    def end(self, action: Action, text: str | None = None) -> None:
        """Let the reply end at the latest token; its text is then `text`, if given, and not that of all its tokens."""
        self._end = action, text

    def __iter__(self) -> Iterator[Step]:
        """The tokens as they are scored."""
        from transformers import DynamicCache

        model = self._monitor.model.model
        cache: Any = DynamicCache(config=model.config)
        with tapped(decoder_of(model), self._monitor.layers, self._monitor.hook_point, stops=False) as taps:
            action = yield from self._write(taps, cache)
            self.outcome = self._finish(cache, action)

    def _write(self, taps: Taps, cache: Any) -> Generator[Step, None, Action]:
        """Write token after token, each scored by the pass that reads it."""
        import torch

        model = self._monitor.model.model
        last = {"logits_to_keep": 1} if "logits_to_keep" in signature(model.forward).parameters else {}
        choose, ends = self._sampling.chooser(model, self._prompt)
        while True:
            new = self._ids[self._seen :]
            if len(self._ids) - self._prompt == self._longest:
                self._score(self._read(new, cache), new)
                yield self._step()
                return "stopped" if self._stopped else self._end[0] if self._end else "length"
            taps.states = {}  # of another reply, which the same model is writing in between
            with torch.inference_mode():
                found = model(input_ids=self._monitor.tensor(new), past_key_values=cache, use_cache=True, **last)
            self._score(taps.states, new)
            if self._seen > self._prompt:
                yield self._step()
            if self._end is not None:
                return self._end[0]
            if self._stopped:
                return "stopped"
            token = choose(self._monitor.tensor(self._ids), found.logits[:, -1].float())
            role = TEMPLATE if token in self._special else ASSISTANT
            self._ids = np.append(self._ids, np.int32(token))
            self._roles = np.append(self._roles, np.int8(role))
            if token in ends:
                return "finished"

    def _score(self, states: "Mapping[int, torch.Tensor]", new: Int32[np.ndarray, "tokens"]) -> None:
        own = slice(self._seen, self._seen + len(new))
        self._scores.update(states, new, self._roles[own])
        self._seen = own.stop

    def _step(self) -> Step:
        """The latest token; asks what a flag shall do."""
        token, scores = int(self._ids[-1]), self._scores
        is_checked = (len(self._ids) - self._prompt) % self._every == 0
        flagged = scores.flagged if is_checked else ()
        text = self._texts.add(token)
        step = Step(token, text, scores.alone, scores.logits, scores.probabilities, flagged)
        new = tuple(name for name in flagged if name not in scores.ever)
        scores.ever |= set(flagged)
        if new and self._on_flag is not None:
            self._stopped = not self._on_flag(step)
        elif new and self._judge is not None:
            self._stopped = self._escalate(self._judge, new)
        return step

    def _escalate(self, judge: Judge, flagged: tuple[str, ...]) -> bool:
        """Ask a judge about the conversation so far; whether the reply ends."""
        reply = self._ids[self._prompt :]
        text = self._text(reply)
        verdict = judge(with_reply(self._record, text))
        self._escalations.append(Escalation(flagged, len(reply), text, verdict))
        return verdict.stops

    def _text(self, reply: Int32[np.ndarray, "tokens"]) -> str:
        return str(self._monitor.model.tokenizer.decode(reply.tolist(), skip_special_tokens=False))

    def _finish(self, cache: Any, action: Action) -> Outcome:
        """Score the conversation as a whole, with what the chat template writes behind the reply."""
        monitor, reply = self._monitor, self._ids[self._prompt :]
        reply = reply[:-1] if action == "finished" and self._end is None else reply
        text = self._end[1] if self._end else None
        text = self._text(reply) if text is None else text
        record = with_reply(self._record, text)
        ids, roles = monitor.read(record)
        seen = slice(self._seen)
        if not (np.array_equal(ids[seen], self._ids[seen]) and np.array_equal(roles[seen], self._roles[seen])):
            # the text of a reply may be cut otherwise than it was written, its roles be told by a later token, or it be
            # blank, which is no turn
            self._scores, self._seen, cache = Scores(monitor.probes, monitor.thresholds, self._scores.ever), 0, None
        if self._seen < len(ids):
            rest = ids[self._seen :]
            self._scores.update(self._read(rest, cache), rest, roles[self._seen :])
        tokens = len(reply) if text.strip() else 0
        return monitor.outcome(record, action, self._scores, tokens, self._escalations)

    def _read(self, ids: Int32[np.ndarray, "tokens"], cache: Any) -> "Mapping[int, torch.Tensor]":
        """The states of tokens behind which nothing is written: the pass ends where the last probe reads."""
        monitor = self._monitor
        with tapped(decoder_of(monitor.model.model), monitor.layers, monitor.hook_point) as taps:
            inputs = {"input_ids": monitor.tensor(ids), "past_key_values": cache}
            return taps.forward(**inputs, use_cache=cache is not None)
