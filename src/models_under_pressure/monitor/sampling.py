"""How the next token of a reply is chosen: by the processors of `transformers`, in the order of its `generate`."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pydantic import Field

from models_under_pressure.core.files import Frozen

if TYPE_CHECKING:
    import torch


class Sampling(Frozen):
    """Settings of `generate`; those not given have no effect, whatever the model's own defaults are.

    There are no beams: a reply is watched while there is one of it.
    """

    do_sample: bool = False
    """Whether tokens are drawn; else the likeliest is taken."""
    temperature: float | None = Field(default=None, gt=0)
    top_k: int | None = Field(default=None, ge=0)
    top_p: float | None = Field(default=None, gt=0, le=1)
    min_p: float | None = Field(default=None, ge=0, le=1)
    repetition_penalty: float | None = Field(default=None, gt=0)
    min_new_tokens: int = Field(default=0, ge=0)
    """Tokens before the model may end the reply."""
    seed: int | None = None
    """Of a generator of its own, so that replies written at the same time draw what each draws alone."""

    def chooser(self, model: Any, prompt: int) -> "tuple[Callable[[torch.Tensor, torch.Tensor], int], frozenset[int]]":
        """A function of the ids so far [1, tokens] and the next logits [1, vocabulary], and the ids that end a reply.

        Args:
            model: the language model.
            prompt: tokens before the reply.
        """
        import torch
        from transformers.generation import logits_process as known

        named = model.generation_config.eos_token_id
        ends = [] if named is None else [named] if isinstance(named, int) else list(named)
        steps: list[Any] = []
        if self.repetition_penalty not in (None, 1.0):
            steps.append(known.RepetitionPenaltyLogitsProcessor(self.repetition_penalty))
        if self.min_new_tokens and ends:
            steps.append(
                known.MinNewTokensLengthLogitsProcessor(prompt, self.min_new_tokens, ends, device=str(model.device))
            )
        if self.do_sample:
            steps += [known.TemperatureLogitsWarper(float(self.temperature))] if self.temperature else []
            steps += [known.TopKLogitsWarper(self.top_k)] if self.top_k else []
            steps += [known.TopPLogitsWarper(self.top_p)] if self.top_p and self.top_p < 1 else []
            steps += [known.MinPLogitsWarper(self.min_p)] if self.min_p else []
        generator = None if self.seed is None else torch.Generator(model.device).manual_seed(self.seed)

        def choose(ids: "torch.Tensor", logits: "torch.Tensor") -> int:
            for step in steps:
                logits = step(ids, logits)
            if self.do_sample:
                return int(torch.multinomial(logits.softmax(dim=-1), num_samples=1, generator=generator))
            return int(logits.argmax(dim=-1))

        return choose, frozenset(ends)
