"""Twelve texts of two kinds, in turns, and which kind each is."""

TEXTS = [f"{word} {number}" for number in range(6) for word in ("fire overdose bleeding", "cake poem song")]
IS_HIGH = [True, False] * 6
