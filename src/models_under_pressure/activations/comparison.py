"""Whether a text came back: JSON, however it is laid out, and what differs in what came back changed."""

import json
import re
from collections.abc import Iterator, Sequence

from models_under_pressure.core.files import is_list, is_object

_STRUCTURE = re.compile(r"""[\s{}\[\]":,]*""")


def find_json(text: str, value: object, start: int, stop: int) -> tuple[int, int] | None:
    """Place of all keys and scalars of a JSON value, with nothing between them but JSON's own characters."""
    atoms = [spellings for spellings in map(_spellings, _atoms(value)) if spellings[0]]
    if not atoms:
        return start, start
    at = start
    while (at := min((p for p in (text.find(one, at, stop) for one in atoms[0]) if p >= 0), default=-1)) >= 0:
        if (end := _follow(text, atoms, at)) is not None and end <= stop:
            return at, end
        at += 1
    return None


def _follow(text: str, atoms: Sequence[Sequence[str]], position: int) -> int | None:
    for spellings in atoms:
        match = _STRUCTURE.match(text, position)
        begin = match.end() if match else position
        spelling = next((one for one in spellings if text.startswith(one, begin)), None)
        if spelling is None:
            return None
        position = begin + len(spelling)
    return position


def _atoms(value: object) -> Iterator[object]:
    if is_object(value):
        for key, inner in value.items():
            yield key
            yield from _atoms(inner)
    elif is_list(value):
        for inner in value:
            yield from _atoms(inner)
    else:
        yield value


def _spellings(atom: object) -> list[str]:
    """How a key or scalar may be written; JSON's own characters at its beginning belong to what is between."""
    spelled = [json.dumps(atom, ensure_ascii=False), json.dumps(atom)]
    if isinstance(atom, str):
        spelled = [*(one[1:-1] for one in spelled), atom]
    return list(dict.fromkeys(one[len(_STRUCTURE.match(one)[0]) :] for one in spelled))  # pyright: ignore


def changed(text: str, found: str) -> int:
    """Characters between the first and the last in which a text differs from what came back of it."""
    if found in (text, *(json.dumps(text, ensure_ascii=is_ascii)[1:-1] for is_ascii in (False, True))):
        return 0
    most = min(len(text), len(found))
    head = next((n for n in range(most) if text[n] != found[n]), most)
    tail = next((n for n in range(most - head) if text[-1 - n] != found[-1 - n]), most - head)
    return max(1, len(text) - head - tail)
