"""Dataset text on a terminal: shown, never obeyed."""

import unicodedata


def printable(text: str) -> str:
    """The text with a mark in the place of control characters, which could move the cursor or rename the window.

    Line feeds and tabs stay; a carriage return, which could hide what stands before it, does not.
    """
    kept = text.replace("\r\n", "\n")
    return "".join(
        "\ufffd" if unicodedata.category(letter) == "Cc" and letter not in "\n\t" else letter for letter in kept
    )


def one_line(text: object, most: int = 120) -> str:
    """The text on one line, cut when it is longer than `most` characters."""
    flat = " ".join(printable(str(text)).split())
    return flat if len(flat) <= most else f"{flat[: most - 1]}…"
