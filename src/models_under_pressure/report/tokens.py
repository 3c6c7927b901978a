"""Heat maps of token scores: browsable, searchable, and nothing in them but escaped text."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from models_under_pressure.core.html import template
from models_under_pressure.report.content import TokenMap

_LEVELS = 4
"""Shades on either side of none."""
_SATURATED = 0.97
"""Share of the tokens shown whose numbers the scale tells apart."""
_STRONGEST = 4
"""Tokens of a record that are told in words, for readers who see neither shades nor tooltips."""


@dataclass(frozen=True)
class Scale:
    """A scale from numbers to shades: level k stands for k steps, and the outermost for all beyond."""

    name: str
    """Name in classes and ids."""
    told: str
    """Name in words."""
    step: float
    """Logits from one level to the next."""

    def shade(self, value: float) -> str:
        """The class of a number's shade."""
        level = min(_LEVELS, math.floor(abs(value) / self.step + 0.5))
        return self._class(level if value > 0 else -level)

    @property
    def swatches(self) -> list[dict[str, str]]:
        """The shades of the legend, with what each stands for."""
        found: list[dict[str, str]] = []
        for level in range(-_LEVELS, _LEVELS + 1):
            edge = {-_LEVELS: " or less", _LEVELS: " or more"}.get(level, "")
            number = f"{level * self.step:+.3g}".replace("-", "−") if level else "0"
            found.append({"shade": self._class(level), "told": number + edge})
        return found

    def _class(self, level: int) -> str:
        """`a` for the own logit, `c` for the contribution; `p` towards high stakes, `n` towards low."""
        sign = "p" if level > 0 else "n" if level < 0 else "z"
        return f"{'a' if self.name == 'alone' else 'c'}-{sign}{abs(level)}"


def token_maps(maps: Sequence[TokenMap]) -> str:
    """Every record as a heat map, the first one open; empty without records."""
    if not maps:
        return ""
    seen = [(one, index) for one in maps for index, role in enumerate(one.roles) if role in one.seen]
    shades = (
        Scale("alone", "the token's own logit", _step([one.logits[index] for one, index in seen])),
        Scale("added", "what it adds to the record's logit", _step([one.contributions[index] for one, index in seen])),
    )
    return template("models_under_pressure.report", "tokens.html.jinja").render(
        probes=", ".join(dict.fromkeys(one.probe for one in maps)),
        shades=shades,
        datasets=list(dict.fromkeys(one.dataset for one in maps)),
        choices=list(dict.fromkeys(choice for one in maps for choice in one.choices)),
        maps=[{"record": one, "strongest": _strongest(one), "turns": _turns(one, shades)} for one in maps],
    )


def _step(values: Sequence[float]) -> float:
    """1, 2 or 5 times a power of ten, so that about `_SATURATED` of the numbers lie within the last level."""
    ordered = sorted(abs(value) for value in values)
    reach = (ordered[int(_SATURATED * (len(ordered) - 1))] if ordered else 0.0) / _LEVELS
    if reach <= 0.0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(reach))
    return next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= reach * 0.999)


def _strongest(one: TokenMap) -> str:
    order = sorted(range(len(one.texts)), key=lambda index: (-abs(one.contributions[index]), index))[:_STRONGEST]
    return ", ".join(
        f"“{one.texts[index].strip() or '·'}” ({one.roles[index]}) {one.contributions[index]:+.3f}" for index in order
    )


def _turns(one: TokenMap, shades: Sequence[Scale]) -> list[dict[str, Any]]:
    """Consecutive tokens of one role."""
    turns: list[dict[str, Any]] = []
    for role, indices in groupby(range(len(one.texts)), key=lambda index: one.roles[index]):
        tokens = [_token(one.texts[index], (one.logits[index], one.contributions[index]), shades) for index in indices]
        turns.append({"role": role, "seen": role in one.seen, "tokens": tokens})
    return turns


def _token(text: str, numbers: tuple[float, float], shades: Sequence[Scale]) -> dict[str, str]:
    return {
        "text": text,
        "shades": " ".join(scale.shade(number) for scale, number in zip(shades, numbers, strict=True)),
        "numbers": f"alone {numbers[0]:+.3f}, adds {numbers[1]:+.4f}",
    }
