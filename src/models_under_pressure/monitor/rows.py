"""Scores as JSON Lines rows."""

from typing import Any

from models_under_pressure.activations.ragged import ASSISTANT, SYSTEM, TEMPLATE, USER
from models_under_pressure.monitor.score import Scored, TokenScores

ROLE_NAMES = {SYSTEM: "system", USER: "user", ASSISTANT: "assistant", TEMPLATE: "template"}


def to_row(scored: Scored) -> dict[str, Any]:
    """The columns of a score: numbers rounded to 6 places."""
    row: dict[str, Any] = {
        "ids": scored.id,
        "logit": round(scored.logit, 6),
        "probability": round(scored.probability, 6),
        "flagged": {f"fpr_{budget:g}": flag for budget, flag in scored.flagged.items()},
    }
    if scored.tokens is not None:
        row["tokens"] = _token_rows(scored.tokens)
    return row


def _token_rows(tokens: TokenScores) -> list[dict[str, Any]]:
    columns = zip(tokens.texts, tokens.roles.tolist(), tokens.logits, tokens.contributions, strict=True)
    return [
        {
            "text": text,
            "role": ROLE_NAMES[role],
            "logit": round(float(logit), 6),
            "contribution": round(float(contribution), 6),
        }
        for text, role, logit, contribution in columns
    ]
