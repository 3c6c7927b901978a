"""A language model under watch: its own forward pass scores each token, and may be stopped."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from queue import SimpleQueue
from threading import Event, Thread
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
from models_under_pressure.core.records import Record
from models_under_pressure.monitor.running import Action, Outcome, Scores, Step
from models_under_pressure.monitor.score import TokenTexts
from models_under_pressure.probes.data import check_same_origin
from models_under_pressure.probes.probe import Probe, weights_bytes

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
            own = {key: probe.provenance.get(key) for key in ("layer", "hook_point")}
            check_same_origin(probe.provenance, origin | own, what=f"the states that the probe {name!r} would read")
        self._hashes = {name: hashlib.sha256(weights_bytes(probe)).hexdigest() for name, probe in probes.items()}
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
            on_flag: asked when a threshold is first reached at a checked token, in the thread that generates; whether
                to go on (a judge may answer that). None reports only.
            seed: of the sampling; the global generator of torch is seeded.
            sampling: settings of `transformers`' `generate`, such as `do_sample`, `temperature` and `top_p`.

        Raises:
            UserError: the conversation is refused by the chat template, or fills the context.
        """
        if sampling.get("num_beams", 1) != 1 or sampling.get("num_return_sequences", 1) != 1:
            raise UserError("a reply is watched while there is one of it.", remedy="generate without beams.")
        record = Record(name, tuple(messages), tools=tuple(tools))
        read, opening = self.read(record), self._opening
        ids = np.concatenate([read[0], opening]), np.append(read[1], [TEMPLATE] * len(opening))
        room = self._max_tokens - len(ids[0])
        if room < 1:
            problem = f"the conversation has {len(ids[0])} tokens, and the probes read {self._max_tokens}."
            raise UserError(problem, where=name, remedy="shorten it.")
        settings: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None, **sampling}
        return Reply(self, record, ids, min(max_new_tokens, room), every, on_flag, seed, settings)

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
    """A reply while it is written, in a thread of its own; iterate over it once."""

    outcome: Outcome | None = None
    """What came of the conversation; None before the last token."""

    def __init__(
        self,
        monitor: Monitor,
        record: Record,
        prompt: _Read,
        longest: int,
        every: int,
        on_flag: Callable[[Step], bool] | None,
        seed: int | None,
        sampling: Mapping[str, Any],
    ) -> None:
        """See `Monitor.generate`."""
        self._monitor, self._record, self._every, self._on_flag = monitor, record, every, on_flag
        self._longest, self._seed, self._sampling = longest, seed, sampling
        self._ids, self._prompt_roles = prompt
        self._prompt = len(self._ids)
        self._special = set(monitor.model.tokenizer.all_special_ids)
        self._scores = Scores(monitor.probes, monitor.thresholds)
        self._texts = TokenTexts(monitor.model.tokenizer)
        self._seen = 0
        self._stopped, self._closed = False, Event()
        self._told: SimpleQueue[Step | BaseException | None] = SimpleQueue()

    def __iter__(self) -> Iterator[Step]:
        """The tokens as they are scored; an iteration that is given up ends the generation."""
        thread = Thread(target=self._generate, daemon=True)
        thread.start()
        try:
            while (told := self._told.get()) is not None:
                if isinstance(told, BaseException):
                    raise told
                yield told
        finally:
            self._closed.set()
            thread.join()

    def _generate(self) -> None:
        try:
            layers = {int(probe.provenance["layer"]) for probe in self._monitor.probes.values()}
            decoder = decoder_of(self._monitor.model.model)
            with tapped(decoder, sorted(layers), self._monitor.hook_point, stops=False) as taps:
                self.outcome = self._finish(taps, self._write(taps))
            self._told.put(None)
        except BaseException as error:  # whoever reads the steps gets it
            self._told.put(error)

    def _write(self, taps: Taps) -> Any:
        """Generate, scoring after each forward pass; returns the model's cache."""
        import torch
        from transformers import DynamicCache, StoppingCriteria, StoppingCriteriaList

        reply, model = self, self._monitor.model.model
        cache: Any = DynamicCache(config=model.config)

        class Watch(StoppingCriteria):
            def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
                ends = reply.take(taps, input_ids[0].cpu().numpy().astype(np.int32))
                return torch.full((1,), ends, device=input_ids.device, dtype=torch.bool)

        if self._seed is not None:
            untyped: Any = torch
            untyped.manual_seed(self._seed)
        prompt = self._tensor(self._ids)
        with torch.inference_mode():
            model.generate(
                input_ids=prompt,
                attention_mask=torch.ones_like(prompt),
                past_key_values=cache,
                max_new_tokens=self._longest,
                stopping_criteria=StoppingCriteriaList([Watch()]),
                **self._sampling,
            )
        return cache

    def take(self, taps: Taps, ids: Int32[np.ndarray, "tokens"]) -> bool:
        """Score the tokens that the model has just read; whether the reply shall end here.

        Args:
            taps: the hidden states of those tokens, which are taken out.
            ids: the conversation so far; the last token is written and not yet read.
        """
        states, taps.states = taps.states, {}
        self._ids = ids
        count = next(iter(states.values())).shape[1]
        own = slice(self._seen, self._seen + count)
        self._scores.update(states, ids[own], self._roles[own])
        self._seen += count
        if self._seen > self._prompt:
            self._tell(ids[self._prompt : self._seen])
        return self._stopped or self._closed.is_set()

    @property
    def _roles(self) -> Int8[np.ndarray, "tokens"]:
        """Roles as far as they are known before the reply is whole."""
        reply = [TEMPLATE if int(token) in self._special else ASSISTANT for token in self._ids[self._prompt :]]
        return np.append(self._prompt_roles, np.array(reply, dtype=np.int8))

    def _tell(self, reply: Int32[np.ndarray, "tokens"]) -> None:
        """Give out the latest token of a reply, and ask what a flag shall do."""
        text = self._texts.add(int(reply[-1]))
        scores = self._scores
        flagged = scores.flagged if len(reply) % self._every == 0 else ()
        step = Step(int(reply[-1]), text, scores.alone, scores.logits, scores.probabilities, flagged)
        is_new = not scores.ever.issuperset(flagged)
        scores.ever |= set(flagged)
        self._told.put(step)
        if is_new and self._on_flag is not None:
            self._stopped = not self._on_flag(step)

    def _finish(self, taps: Taps, cache: Any) -> Outcome:
        """Score the conversation as a whole, with what the chat template writes behind the reply."""
        monitor, ended = self._monitor, int(self._ids[-1]) in self._special
        action: Action = "stopped" if self._stopped else "closed" if self._closed.is_set() else "finished"
        if action != "finished":
            self._ids = self._ids[: self._seen]
        elif not ended:
            action = "length"
            self._forward(self._ids[self._seen :], cache)
            self.take(taps, self._ids)
        reply = self._ids[self._prompt :]
        reply = reply[:-1] if len(reply) and int(reply[-1]) in self._special else reply
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
            self._forward(ids[self._seen :], cache)
            self._scores.update(taps.states, ids[self._seen :], roles[self._seen :])
        return monitor.outcome(record, action, self._scores, len(reply))

    def _forward(self, ids: Int32[np.ndarray, "tokens"], cache: Any) -> None:
        import torch

        with torch.inference_mode():
            decoder_of(self._monitor.model.model)(
                input_ids=self._tensor(ids), past_key_values=cache, use_cache=cache is not None
            )

    def _tensor(self, ids: Int32[np.ndarray, "tokens"]) -> "torch.Tensor":
        import torch

        device = self._monitor.model.model.get_input_embeddings().weight.device
        return torch.as_tensor(ids[None].astype(np.int64), device=device)
