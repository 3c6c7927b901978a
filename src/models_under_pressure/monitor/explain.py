"""What made a conversation's score: its tokens, shaded by what each adds to the logit, as HTML or for a terminal."""

from collections.abc import Iterator
from itertools import groupby

import numpy as np

from models_under_pressure.core.display import printable, template
from models_under_pressure.core.layers import layers_text
from models_under_pressure.monitor.score import ROLE_NAMES, Scored, TokenScores
from models_under_pressure.probes.probe import Probe
from models_under_pressure.probes.tokens import seen_roles

_HIGH, _LOW = "217, 95, 2", "27, 120, 178"
"""Orange and blue, which colour-blind readers tell apart."""
_MOST = 12
"""Tokens listed in the text version."""


def to_html(scored: Scored, probe: Probe) -> str:
    """A page that needs nothing but itself; all text of the conversation is escaped."""
    tokens, seen = _tokens_of(scored), seen_roles(probe.config.tokens)
    strongest = _strongest(tokens)
    turns = [
        {
            "role": ROLE_NAMES[role],
            "seen": ROLE_NAMES[role] in seen,
            "tokens": [_token(tokens, index, strongest) for index in indices],
        }
        for role, indices in _turns(tokens)
    ]
    page = template("models_under_pressure.monitor", "explain.html.jinja")
    return page.render(id=scored.id, facts=_facts(scored, probe), turns=turns, high=_HIGH, low=_LOW)


def to_text(scored: Scored, probe: Probe, *, colour: bool) -> str:
    """The same for a terminal: shaded where it has colours, with the strongest tokens listed below.

    Control characters of the conversation are shown, not sent: they could rewrite the screen.
    """
    tokens = _tokens_of(scored)
    lines = [f"{name:12} {value}" for name, value in [("conversation", scored.id), *_facts(scored, probe)]]
    lines = [printable(line) for line in lines]
    strongest = _strongest(tokens)
    for role, indices in _turns(tokens):
        shown = (
            shaded(tokens.texts[index], float(tokens.contributions[index]) / strongest)
            if colour
            else printable(tokens.texts[index])
            for index in indices
        )
        lines += ["", f"[{ROLE_NAMES[role]}]", "".join(shown)]
    lines += ["", "strongest tokens (what they add to the logit, their logit alone)"]
    order: list[int] = np.argsort(-np.abs(tokens.contributions), kind="stable").tolist()
    for index in order[:_MOST]:
        numbers = f"{tokens.contributions[index]:+9.4f} {tokens.logits[index]:+9.3f}"
        lines.append(f"{numbers}  {printable(tokens.texts[index])!r}")
    return "\n".join(lines) + "\n"


def _tokens_of(scored: Scored) -> TokenScores:
    if scored.tokens is None:
        raise ValueError("scored without tokens")
    return scored.tokens


def _facts(scored: Scored, probe: Probe) -> list[tuple[str, str]]:
    facts = [
        ("logit", f"{scored.logit:.4f}"),
        ("probability", f"{scored.probability:.4f}"),
        ("probe", f"{probe.family}, {probe.provenance.get('model')}, {layers_text(probe.provenance)}"),
    ]
    for row in probe.thresholds:
        least = "nothing is flagged" if row.logit is None else f"flags from {row.logit:.4f}"
        verdict = f"{'flagged' if scored.flagged.get(row.budget) else 'not flagged'} ({least})"
        facts.append((f"at FPR {row.budget:g}", f"refused: {row.refused}" if row.refused else verdict))
    return facts


def _turns(tokens: TokenScores) -> Iterator[tuple[int, list[int]]]:
    for role, indices in groupby(range(len(tokens.texts)), key=lambda index: int(tokens.roles[index])):
        yield role, list(indices)


def _strongest(tokens: TokenScores) -> float:
    """The largest contribution on either side, which has the full shade; 1 where all are 0."""
    return float(np.abs(tokens.contributions).max()) or 1.0


def _token(tokens: TokenScores, index: int, strongest: float) -> dict[str, str]:
    added, logit = float(tokens.contributions[index]), float(tokens.logits[index])
    return {
        "text": printable(tokens.texts[index]),
        "shade": f"rgba({_HIGH if added > 0 else _LOW}, {min(1.0, abs(added) / strongest):.2f})",
        "numbers": f"adds {added:+.4f}, alone {logit:+.3f}",
    }


def shaded(text: str, share: float) -> str:
    """A text on one of five shades of the terminal's 256 colours: towards orange at a share of 1, blue at -1."""
    level = round(5 * min(1.0, abs(share)))
    text = printable(text)
    if not level:
        return text
    # Cube of 6 x 6 x 6 colours: towards orange, or towards blue, from white.
    colour = (
        16 + 36 * 5 + 6 * (5 - level // 2) + (5 - level)
        if share > 0
        else 16 + 36 * (5 - level) + 6 * (5 - level // 2) + 5
    )
    return f"\x1b[30;48;5;{colour}m{text}\x1b[0m"
