"""Heat maps of token scores: browsable, searchable, and nothing in them but escaped text."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from models_under_pressure.report.content import TokenMap
from models_under_pressure.report.html import Markup, element, join, text

_LEVELS = 4
"""Shades on either side of none."""
_SATURATED = 0.97
"""Share of the tokens shown whose numbers the scale tells apart."""
_STRONGEST = 4
_SHADES = {"alone": "the token's own logit", "added": "what it adds to the record's logit"}


@dataclass(frozen=True)
class Scale:
    """Numbers to shades: level k stands for k steps, and the outermost for all beyond."""

    step: float

    def level(self, value: float) -> int:
        """From -4 to 4."""
        return max(-_LEVELS, min(_LEVELS, math.floor(abs(value) / self.step + 0.5) * (1 if value > 0 else -1)))


def token_maps(maps: Sequence[TokenMap]) -> Markup:
    """Every record as a heat map, the first one open; empty without records."""
    if not maps:
        return Markup("")
    scales = {
        "alone": _scale([value for one in maps for value in _seen(one, one.logits)]),
        "added": _scale([value for one in maps for value in _seen(one, one.contributions)]),
    }
    probes = ", ".join(dict.fromkeys(one.probe for one in maps))
    told = (
        f"What the probe {probes} makes of every token of {len(maps)} records. Logits are natural; above 0 speaks for "
        "high stakes. Hold the pointer over a token for its numbers. A character that is several tokens is shaded by "
        "the last of them. Grey text: roles that the probe does not see."
    )
    return join(
        [
            element("p", text(told), class_="muted"),
            _shading(scales),
            _finder(maps),
            *(_map(number, one, scales) for number, one in enumerate(maps)),
        ]
    )


def _scale(values: Sequence[float]) -> Scale:
    """Steps of 1, 2 or 5 times a power of ten, so that about `_SATURATED` of the numbers lie within the last."""
    ordered = sorted(abs(value) for value in values)
    reach = (ordered[int(_SATURATED * (len(ordered) - 1))] if ordered else 0.0) / _LEVELS
    if reach <= 0.0:
        return Scale(1.0)
    power = 10.0 ** math.floor(math.log10(reach))
    return Scale(next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= reach * 0.999))


def _seen(one: TokenMap, values: Sequence[float]) -> list[float]:
    return [value for value, role in zip(values, one.roles, strict=True) if role in one.seen]


def _shading(scales: Mapping[str, Scale]) -> Markup:
    """What is shaded, as a choice that needs no script, and a legend of each."""
    options = [
        element(
            "label",
            f'<input type="radio" name="shade" id="shade-{name}"{" checked" if name == "alone" else ""}> {text(told)}',
        )
        for name, told in _SHADES.items()
    ]
    chosen = element("fieldset", join([element("legend", "Shade by"), *options]))
    return join([chosen, *(_legend(name, scale) for name, scale in scales.items())])


def _legend(name: str, scale: Scale) -> Markup:
    swatches = []
    for level in range(-_LEVELS, _LEVELS + 1):
        edge = {-_LEVELS: " or less", _LEVELS: " or more"}.get(level, "")
        number = f"{level * scale.step:+.3g}".replace("-", "−") if level else "0"
        shade = element("span", text(number + edge), class_=f"{_class(name, level)} swatch")
        swatches.append(element("li", shade))
    told = element("span", text(f"{_SHADES[name].capitalize()} (logit units), the nearest of:"))
    return element("div", join([told, element("ul", join(swatches))]), class_=f"legend of-{name}")


def _finder(maps: Sequence[TokenMap]) -> Markup:
    """Search fields, which a script shows."""
    datasets = dict.fromkeys(one.dataset for one in maps)
    choices = dict.fromkeys(choice for one in maps for choice in one.choices)
    fields = [
        element("label", 'Text or id <input type="search" id="tokens-text" autocomplete="off">'),
        element("label", f"Dataset {_select('dataset', {name: name for name in datasets})}"),
        element("label", f"Chosen as {_select('choice', {name: name.replace('_', ' ') for name in choices})}"),
        element("span", "", id="tokens-count", role="status"),
    ]
    return element("div", join(fields), id="tokens-finder", role="search", hidden="hidden")


def _select(name: str, options: Mapping[str, str]) -> Markup:
    every = [element("option", "all", value="")]
    every += [element("option", text(told), value=value) for value, told in options.items()]
    return element("select", "".join(every), id=f"tokens-{name}")


def _map(number: int, one: TokenMap, scales: Mapping[str, Scale]) -> Markup:
    stakes = f", stakes {one.stakes} of 10" if one.stakes is not None else ""
    chosen = ", ".join(choice.replace("_", " ") for choice in one.choices)
    heading = join(
        [
            element("b", text(f"{one.dataset}: {one.id}")),
            element("span", text(f"{one.label}{stakes}; logit {one.logit:+.3f}, probability {one.probability:.3f}")),
            element("span", text(chosen), class_="muted"),
        ]
    )
    turns = [
        _turn(role, list(part), one, scales)
        for role, part in groupby(range(len(one.texts)), key=lambda index: one.roles[index])
    ]
    body = join([element("summary", heading), element("p", text(_strongest(one)), class_="muted"), *turns])
    attributes: dict[str, Any] = {"data_dataset": one.dataset, "data_choices": " ".join(one.choices)}
    return element("details", body, class_="map", **attributes, **({"open": "open"} if number == 0 else {}))


def _strongest(one: TokenMap) -> str:
    """The tokens that add most, for readers who see neither shades nor tooltips."""
    order = sorted(range(len(one.texts)), key=lambda index: (-abs(one.contributions[index]), index))[:_STRONGEST]
    told = [
        f"“{one.texts[index].strip() or '·'}” ({one.roles[index]}) {one.contributions[index]:+.3f}" for index in order
    ]
    return f"Adds most: {', '.join(told)}."


def _turn(role: str, indices: Sequence[int], one: TokenMap, scales: Mapping[str, Scale]) -> Markup:
    seen = role in one.seen
    spans = "".join(_token(one, index, scales) if seen else text(one.texts[index]) for index in indices)
    # dir=auto: conversations come in scripts of either direction.
    words = element("div", spans, class_="words" if seen else "words unseen", dir="auto")
    return element("div", element("span", text(role), class_="role") + words, class_="turn")


def _token(one: TokenMap, index: int, scales: Mapping[str, Scale]) -> Markup:
    alone, added = one.logits[index], one.contributions[index]
    if not one.texts[index]:
        return Markup("")
    names = [_class("alone", scales["alone"].level(alone)), _class("added", scales["added"].level(added))]
    return element(
        "span", text(one.texts[index]), class_=" ".join(names), title=f"alone {alone:+.3f}, adds {added:+.4f}"
    )


def _class(name: str, level: int) -> str:
    """`a` for the own logit, `c` for the contribution; `p` towards high stakes, `n` towards low."""
    sign = "p" if level > 0 else "n" if level < 0 else "z"
    return f"{'a' if name == 'alone' else 'c'}-{sign}{abs(level)}"
