"""Which chat model is asked, within which limits."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from models_under_pressure.core.display import masked
from models_under_pressure.core.files import canonical_json
from models_under_pressure.core.section import Section
from models_under_pressure.llm.reply import Usage


def _known_endpoint(value: str) -> str:
    if value in ("openai", "openrouter"):
        return value
    problem = f"endpoint is openai, openrouter or the base URL of a compatible server, not {masked(value)!r}"
    try:
        url = urlsplit(value)
        is_url = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:  # a port or an IPv6 address that is none
        raise ValueError(problem) from None
    if not is_url or url.fragment or not value.isprintable():
        raise ValueError(problem)
    if url.query:
        raise ValueError(f"endpoint takes no query ({masked(value)}); a key belongs into .env")
    return value.rstrip("/")


class Price(Section):
    """What a model costs, in US dollars per million tokens."""

    input: float = Field(ge=0)
    output: float = Field(ge=0)


class LLMConfig(Section):
    """Which chat model is asked, how, and within which limits."""

    endpoint: Annotated[str, AfterValidator(_known_endpoint)] = "openai"
    """`openai`, `openrouter`, or the base URL of a compatible server; not part of a reply's key."""
    model: str = Field(min_length=1)
    """Name of the model, as the endpoint spells it."""
    mode: Literal["replay", "record", "refresh"] = "replay"
    """`replay` never uses the network; `record` asks for what is missing; `refresh` asks anew for `refresh_ids`."""
    refresh_ids: str = "*"
    """Shell pattern of the record ids that `refresh` asks anew."""
    temperature: float | None = Field(default=None, ge=0, le=2)
    """Sampling temperature; null leaves it out of the request, as reasoning models demand."""
    seed: int | None = None
    """Seed sent to the endpoint; null leaves it out."""
    max_tokens: int = Field(default=1024, ge=1)
    """Longest reply, in tokens."""
    concurrency: int = Field(default=16, ge=1)
    """Questions under way at once."""
    requests_per_minute: float | None = Field(default=None, gt=0)
    """Null sets no limit beside the endpoint's own."""
    tokens_per_minute: float | None = Field(default=None, gt=0)
    """Tokens of questions and replies together; null sets no limit."""
    deadline: float = Field(default=180, gt=0)
    """Seconds for one question with all its retries; waiting for a rate limit does not count, be it ours or a wait that
    the server asks for (Retry-After)."""
    request_timeout: float = Field(default=60, gt=0)
    """Seconds without a byte before one request is given up and retried."""
    retries: int = Field(default=8, ge=0)
    """Retries of a request after 408, 409, 429, 5xx or a lost connection."""
    reasks: int = Field(default=2, ge=0)
    """Times that a reply of the wrong form is shown to the model with its error, to be mended."""
    allow_missing: int = Field(default=0, ge=0)
    """Questions of one round that may stay without an answer; their rows are dropped and named. More stop the stage."""
    max_cost_usd: float | None = Field(default=None, ge=0)
    """Spend of one stage at which it stops; null sets no cap."""
    prices: dict[str, Price] = Field(default={})
    """Model -> price; needed for estimates and for the cap."""
    batch: bool = False
    """Whether missing replies are asked for through the Batch API: cheaper, within a day."""
    batch_discount: float = Field(default=0.5, ge=0, le=1)
    """Share of the price that the Batch API saves."""
    batch_poll_seconds: float = Field(default=30, gt=0)
    """Seconds between two looks at a batch."""

    @property
    def place(self) -> str:
        """The endpoint as messages and the ledger name it: without user and password."""
        return masked(self.endpoint)

    @property
    def price(self) -> Price | None:
        """Price of the model, with or without its vendor's prefix."""
        return self.prices.get(self.model) or self.prices.get(self.model.removeprefix("openai/"))

    @property
    def sampling(self) -> dict[str, Any]:
        """The sampling parameters of a request; those that are null are left out."""
        length = "max_completion_tokens" if self.endpoint == "openai" else "max_tokens"
        chosen = {"model": self.model, length: self.max_tokens, "temperature": self.temperature, "seed": self.seed}
        return {name: value for name, value in chosen.items() if value is not None}


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
    """Number, tokens and cost of the replies that are missing."""

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
