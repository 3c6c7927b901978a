"""What made a conversation's score: its tokens, shaded by what each adds to the logit, as HTML or for a terminal."""

import html
from collections.abc import Iterator
from itertools import groupby

import numpy as np

from models_under_pressure.core.progress import printable
from models_under_pressure.monitor.score import ROLE_NAMES, Scored, TokenScores
from models_under_pressure.probes.probe import Probe

_STYLE = """
body { font: 16px/1.6 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222;
  background: #fff; }
table { border-collapse: collapse; } td, th { padding: .1rem .8rem .1rem 0; text-align: left; }
section { border-left: 3px solid #ccc; margin: .8rem 0; padding-left: .8rem; white-space: pre-wrap;
  overflow-wrap: anywhere; }
section > b { display: block; font-size: .75rem; color: #666; text-transform: uppercase; }
.unseen { color: #999; }
"""
_HIGH, _LOW = "217, 95, 2", "27, 120, 178"
"""Orange and blue, which colour-blind readers tell apart."""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""Forbids the page every script and every request: the text in it may be hostile."""
_MOST = 12
"""Tokens listed in the text version."""


def to_html(scored: Scored, probe: Probe) -> str:
    """A page that needs nothing but itself; all text of the conversation is escaped."""
    tokens = _tokens_of(scored)
    turns = "".join(_turn(role, indices, tokens, probe) for role, indices in _turns(tokens))
    facts = "".join(
        f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>" for name, value in _facts(scored, probe)
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f"<title>{html.escape(scored.id)}</title>\n<style>{_STYLE}</style></head>\n<body>\n"
        f"<h1>{html.escape(scored.id)}</h1>\n<table>{facts}</table>\n"
        "<p>Shade: what a token adds to the logit; "
        f'<span style="background: rgba({_HIGH}, .6)">towards high-stakes</span>, '
        f'<span style="background: rgba({_LOW}, .6)">towards low-stakes</span>. '
        'Grey text: <span class="unseen">roles that the probe does not see</span>. '
        "Hold the pointer over a token for its numbers.</p>\n"
        f"{turns}</body></html>\n"
    )


def to_text(scored: Scored, probe: Probe, *, colour: bool) -> str:
    """The same for a terminal: shaded where it has colours, with the strongest tokens listed below.

    Control characters of the conversation are shown, not sent: they could rewrite the screen.
    """
    tokens = _tokens_of(scored)
    lines = [f"{name:12} {value}" for name, value in [("conversation", scored.id), *_facts(scored, probe)]]
    lines = [printable(line) for line in lines]
    strongest = float(np.abs(tokens.contributions).max()) or 1.0
    for role, indices in _turns(tokens):
        shown = (_shaded(tokens, index, strongest) if colour else printable(tokens.texts[index]) for index in indices)
        lines += ["", f"[{ROLE_NAMES[role]}]", "".join(shown)]
    lines += ["", "strongest tokens (what they add to the logit, their logit alone)"]
    for index in np.argsort(-np.abs(tokens.contributions), kind="stable")[:_MOST].tolist():
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
        ("probe", f"{probe.family}, {probe.provenance.get('model')}, layer {probe.provenance.get('layer')}"),
    ]
    for row in probe.thresholds:
        least = "nothing is flagged" if row.logit is None else f"flags from {row.logit:.4f}"
        facts.append(
            (f"at FPR {row.budget:g}", f"{'flagged' if scored.flagged[row.budget] else 'not flagged'} ({least})")
        )
    return facts


def _turns(tokens: TokenScores) -> Iterator[tuple[int, list[int]]]:
    for role, indices in groupby(range(len(tokens.texts)), key=lambda index: int(tokens.roles[index])):
        yield role, list(indices)


def _turn(role: int, indices: list[int], tokens: TokenScores, probe: Probe) -> str:
    name, strongest = ROLE_NAMES[role], float(np.abs(tokens.contributions).max()) or 1.0
    unseen = "" if name in probe.config.tokens else ' class="unseen"'
    spans = "".join(_span(tokens, index, strongest) for index in indices)
    return f"<section{unseen}><b>{name}</b>{spans}</section>\n"


def _span(tokens: TokenScores, index: int, strongest: float) -> str:
    added, logit = float(tokens.contributions[index]), float(tokens.logits[index])
    text = html.escape(printable(tokens.texts[index]))
    shade = f"rgba({_HIGH if added > 0 else _LOW}, {min(1.0, abs(added) / strongest):.2f})"
    return f'<span style="background: {shade}" title="adds {added:+.4f}, alone {logit:+.3f}">{text}</span>'


def _shaded(tokens: TokenScores, index: int, strongest: float) -> str:
    """A token on one of five shades of the terminal's 256 colours."""
    added = float(tokens.contributions[index])
    level = round(5 * min(1.0, abs(added) / strongest))
    text = printable(tokens.texts[index])
    if not level:
        return text
    # Cube of 6 x 6 x 6 colours: towards orange, or towards blue, from white.
    colour = (
        16 + 36 * 5 + 6 * (5 - level // 2) + (5 - level)
        if added > 0
        else 16 + 36 * (5 - level) + 6 * (5 - level // 2) + 5
    )
    return f"\x1b[30;48;5;{colour}m{text}\x1b[0m"
