"""A language model under watch: its own forward pass scores each token, and may be stopped."""

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
from models_under_pressure.monitor.running import Action, Outcome, Scores, Step
from models_under_pressure.monitor.sampling import Sampling
from models_under_pressure.monitor.score import TokenTexts
from models_under_pressure.probes.data import check_same_origin
from models_under_pressure.probes.probe import Probe, weights_hash

if TYPE_CHECKING:
    import torch

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
            UserError: a probe reads another model, or one vector per conversation.
        """
        if not probes:
            raise UserError("no probe is given.", remedy="name at least one.")
        self.model, self.probes = model, dict(probes)
        self.thresholds = {
            name: next((row.logit for row in probe.thresholds if row.budget == fpr), None)
            for name, probe in probes.items()
        }
        origin = {
            "model": model.name,
            "revision": model.revision,
            "template_hash": ChatTemplate(model.tokenizer, model.name).hash,
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

    def generate(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        name: str = "live",
        max_new_tokens: int = 512,
        every: int = 1,
        on_flag: Callable[[Step], bool] | None = None,
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
            on_flag: asked when a threshold is first reached at a checked token whether to go on (a judge may answer
                that). None reports only.
            seed: of the sampling; the global generator of torch is seeded.
            sampling: fields of `Sampling`, which mean what they mean in `transformers`' `generate`.

        Raises:
            UserError: the conversation is refused by the chat template, or fills the context; or a setting is unknown.
        """
        record = Record(name, tuple(messages), tools=tuple(tools))
        read, opening = self.read(record), self._opening
        ids = np.concatenate([read[0], opening]), np.append(read[1], [TEMPLATE] * len(opening))
        room = self._max_tokens - len(ids[0])
        if room < 1:
            problem = f"the conversation has {len(ids[0])} tokens, and the probes read {self._max_tokens}."
            raise UserError(problem, where=name, remedy="shorten it.")
        how = checked(Sampling, sampling | {"seed": seed})
        return Reply(self, record, ids, min(max_new_tokens, room), every, on_flag, how)

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

    def read(self, record: Record) -> _Read:
        """Token ids and roles of a conversation."""
        limits: dict[str, Any] = {"max_tokens": self._max_tokens, "truncation_side": "right"}
        (read,), _ = tokenise([record], self.model.tokenizer, name=self.model.name, **limits)
        return read.token_ids, read.roles

    def outcome(self, record: Record, action: Action, scores: Scores, tokens: int) -> Outcome:
        """What came of a conversation with a reply of so many tokens."""
        flagged = scores.ever.union(scores.flagged)
        told = tuple(name for name in self.probes if name in flagged)
        return Outcome(record, action, scores.logits, scores.probabilities, told, tokens, self._hashes)


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
        sampling: Sampling,
    ) -> None:
        """See `Monitor.generate`."""
        self._monitor, self._record, self._every, self._on_flag = monitor, record, every, on_flag
        self._longest, self._sampling = longest, sampling
        self._ids, self._roles = prompt
        self._prompt, self._seen = len(self._ids), 0
        self._special = set(monitor.model.tokenizer.all_special_ids)
        self._scores = Scores(monitor.probes, monitor.thresholds)
        self._texts = TokenTexts(monitor.model.tokenizer)
        self._stopped = False

    def __iter__(self) -> Iterator[Step]:
        """The tokens as they are scored."""
        from transformers import DynamicCache

        model = self._monitor.model.model
        layers = {layer for probe in self._monitor.probes.values() for layer in layers_of(probe.provenance)}
        cache: Any = DynamicCache(config=model.config)
        with tapped(decoder_of(model), sorted(layers), self._monitor.hook_point, stops=False) as taps:
            action = yield from self._write(taps, cache)
            self.outcome = self._finish(taps, cache, action)

    def _write(self, taps: Taps, cache: Any) -> Generator[Step, None, Action]:
        """Write token after token, each scored by the pass that reads it."""
        import torch

        model = self._monitor.model.model
        last = {"logits_to_keep": 1} if "logits_to_keep" in signature(model.forward).parameters else {}
        choose, ends = self._sampling.chooser(model, self._prompt)
        while True:
            new = self._ids[self._seen :]
            with torch.inference_mode():
                found = model(input_ids=self._tensor(new), past_key_values=cache, use_cache=True, **last)
            self._score(taps, new)
            if self._seen > self._prompt:
                yield self._step()
            if self._stopped or self._seen - self._prompt == self._longest:
                return "stopped" if self._stopped else "length"
            token = choose(self._tensor(self._ids), found.logits[:, -1].float())
            role = TEMPLATE if token in self._special else ASSISTANT
            self._ids = np.append(self._ids, np.int32(token))
            self._roles = np.append(self._roles, np.int8(role))
            if token in ends:
                return "finished"

    def _score(self, taps: Taps, new: Int32[np.ndarray, "tokens"]) -> None:
        states, taps.states = taps.states, {}
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
        is_new = not scores.ever.issuperset(flagged)
        scores.ever |= set(flagged)
        if is_new and self._on_flag is not None:
            self._stopped = not self._on_flag(step)
        return step

    def _finish(self, taps: Taps, cache: Any, action: Action) -> Outcome:
        """Score the conversation as a whole, with what the chat template writes behind the reply."""
        monitor, reply = self._monitor, self._ids[self._prompt :]
        reply = reply[:-1] if action == "finished" else reply
        text = monitor.model.tokenizer.decode(reply.tolist(), skip_special_tokens=False)
        if not text.strip():
            return monitor.outcome(self._record, action, self._scores, 0)
        said = (*self._record.messages, Message("assistant", text))
        record = Record(self._record.id, said, tools=self._record.tools)
        ids, roles = monitor.read(record)
        seen = slice(self._seen)
        if not (np.array_equal(ids[seen], self._ids[seen]) and np.array_equal(roles[seen], self._roles[seen])):
            # the text of a reply may be cut otherwise than it was written, or its roles be told by a later token
            self._scores, self._seen, cache = Scores(monitor.probes, monitor.thresholds, self._scores.ever), 0, None
        if self._seen < len(ids):
            self._read_rest(ids[self._seen :], cache)
            self._scores.update(taps.states, ids[self._seen :], roles[self._seen :])
        return monitor.outcome(record, action, self._scores, len(reply))

    def _read_rest(self, ids: Int32[np.ndarray, "tokens"], cache: Any) -> None:
        import torch

        decoder = decoder_of(self._monitor.model.model)
        with torch.inference_mode():
            decoder(input_ids=self._tensor(ids), past_key_values=cache, use_cache=cache is not None)

    def _tensor(self, ids: Int32[np.ndarray, "tokens"]) -> "torch.Tensor":
        import torch

        device = self._monitor.model.model.get_input_embeddings().weight.device
        return torch.as_tensor(ids[None].astype(np.int64), device=device)
