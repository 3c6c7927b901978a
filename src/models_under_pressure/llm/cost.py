"""What requests cost: before they are sent, and as they are answered."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

from models_under_pressure.core.files import canonical_json
from models_under_pressure.llm.config import LLMConfig, Price
from models_under_pressure.llm.reply import Usage

_BYTES_PER_TOKEN = 3
"""English has about 4.3 UTF-8 bytes per token and Chinese about 3; the low figure overstates, never understates."""


def input_tokens(body: Mapping[str, Any]) -> int:
    """About how many tokens the messages and the form of a request have."""
    texts = [message.get("content") or "" for message in body["messages"]]
    size = sum(len(text.encode()) for text in texts) + len(canonical_json(body.get("response_format")))
    return ceil(size / _BYTES_PER_TOKEN)


def price_of(tokens_in: float, tokens_out: float, price: Price) -> float:
    """US dollars of so many tokens."""
    return (tokens_in * price.input + tokens_out * price.output) / 1e6


def cost_of(usage: Usage | None, price: Price | None) -> float | None:
    """US dollars of one request: as the endpoint told, else by the price table; None if neither knows."""
    if usage is None:
        return None
    if usage.cost_usd is not None:
        return usage.cost_usd
    return price_of(usage.input_tokens, usage.output_tokens, price) if price else None


@dataclass(frozen=True, slots=True)
class Estimate:
    """What asking for the missing replies takes."""

    questions: int
    recorded: int
    """Questions whose reply is known already."""
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    """None if the model has no price."""
    is_bound: bool
    """Whether the output is the most that is allowed, because no recorded reply tells its usual length."""

    @property
    def missing(self) -> int:
        """Questions that would be asked."""
        return self.questions - self.recorded

    def __str__(self) -> str:
        """One line for a person."""
        extent = "at most" if self.is_bound else "about"
        cost = "an unknown sum (no price for the model)" if self.cost_usd is None else f"{extent} ${self.cost_usd:,.2f}"
        return (
            f"{self.missing:,} of {self.questions:,} replies are missing; asking for them costs {cost}: "
            f"{self.input_tokens:,} tokens in, {self.output_tokens:,} out"
        )


class Meter:
    """Counts requests, tokens and cost, and keeps the cost below the cap."""

    def __init__(self, config: LLMConfig) -> None:
        self._price, self._cap, self._max_tokens = config.price, config.max_cost_usd, config.max_tokens
        self._reserved = 0.0
        self._settled = asyncio.Condition()
        self.requests = 0
        self.input_tokens = 0
        self.output_tokens = 0
        self.cost_usd = 0.0
        self._replies = 0
        self._replays = 0
        self._replayed_output = 0

    def replayed(self, usage: Usage | None) -> None:
        """Note the size of a recorded reply."""
        if usage is not None:
            self._replays += 1
            self._replayed_output += usage.output_tokens

    @property
    def mean_output_tokens(self) -> int | None:
        """Mean length of the recorded replies; None if there are none."""
        return ceil(self._replayed_output / self._replays) if self._replays else None

    @property
    def usual_output_tokens(self) -> int:
        """Mean length of the replies of this run so far; `max_tokens` before the first."""
        return ceil(self.output_tokens / self._replies) if self._replies else self._max_tokens

    async def reserve(self, tokens_in: int) -> float | None:
        """Set aside the most that a request can cost, in US dollars; None if the cap forbids it.

        While other requests are under way their unused reserve may still return, so it waits for them.
        """
        most = price_of(tokens_in, self._max_tokens, self._price) if self._price else 0.0
        async with self._settled:
            while self._cap is not None and self.cost_usd + self._reserved + most > self._cap:
                if self._reserved <= 1e-12:
                    return None
                await self._settled.wait()
            self._reserved += most
        return most

    async def settle(self, reserve: float, usage: Usage | None) -> None:
        """Give a reserve back, and count what the request really used."""
        async with self._settled:
            self._reserved -= reserve
            self.requests += 1
            if usage is not None:
                self._replies += 1
                self.input_tokens += usage.input_tokens
                self.output_tokens += usage.output_tokens
                self.cost_usd += cost_of(usage, self._price) or 0.0
            self._settled.notify_all()
