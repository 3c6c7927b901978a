"""What the columns of somebody's table mean: guessed where it is plain, asked for by name where it is not."""

import ast
import json
import re
import unicodedata
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from models_under_pressure.core.concept import Classes
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import is_list, is_object
from models_under_pressure.core.records import Label, is_given

_TEXTS = (
    *("inputs", "messages", "conversations", "conversation", "chat", "turns", "dialogue", "dialog", "text", "prompt"),
    *("content", "input", "question", "query", "instruction", "comment", "post", "body", "sentence", "transcript"),
    *("transcription", "statement", "message", "prompt_text", "tweet", "review", "utterance", "document"),
)
_LABELS = ("labels", "label", "class", "target", "y", "category", "annotation", "gold", "is_positive", "stake_level")
_IDS = ("ids", "id", "_id", "uuid", "uid", "row_id", "example_id", "record_id")
"""Names that tables give such columns, in any case; the first that a table has counts."""

_WORDS = {
    Label.HIGH: {"high", "1", "true", "yes", "y", "t", "positive", "ja", "oui", "sí", "si"},
    Label.LOW: {"low", "0", "false", "no", "n", "f", "negative", "nein", "non"},
    Label.AMBIGUOUS: {"ambiguous"},
}
"""Values of a label that mean the same in every table, whatever the concept."""
_OWN_WORDS = {"2": Label.AMBIGUOUS}
"""What else the column `labels` holds in older files of this project."""
_UNNAMED = Classes(positive="positive", negative="negative")
_LONGEST_REPR = 500_000
"""Characters of a Python list that is still parsed: a longer one takes a hundred times its size in memory."""
_SHOWN = 8
"""Values of a label that a message names."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the user says of the columns; None is guessed."""

    text: str | None = None
    messages: str | None = None
    """Column of conversations: text that is none is refused there."""
    label: str | None = None
    positive: tuple[str, ...] = ()
    """Values of the label that are the positive class; every other value is the negative one."""
    id: str | None = None
    group: str | None = None
    ordinary: bool = False
    """Whether the table is ordinary traffic: every row is of the negative class, and no column is the label."""


@dataclass(frozen=True, slots=True)
class Columns:
    """What a table's columns are taken for."""

    text: str
    is_conversation: bool
    """Whether the text column must hold lists of messages."""
    label: str | None
    """None where every row is of the negative class."""
    id: str | None
    group: str | None

    def told(self) -> dict[str, str]:
        """Meaning -> column, as it is printed."""
        meant = "messages" if self.is_conversation else "text"
        label = self.label or "none: every row is taken as ordinary traffic"
        found = {meant: self.text, "label": label, "id": self.id or "the row's number", "group": self.group}
        return {meaning: column for meaning, column in found.items() if column is not None}


def choose_columns(rows: Sequence[Mapping[str, Any]], asked: Asked, *, where: str) -> Columns:
    """What the columns of a table mean, by the user's word, their names and the values of its first rows.

    Raises:
        UserError: a column asked for does not exist, or which one is the text or the label is not plain.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    for option in ("text", "messages", "label", "id", "group"):
        name = getattr(asked, option)
        if name is not None and name not in names:
            remedy = f"use one of its columns with --{option}: {', '.join(names)}."
            raise UserError(f"there is no column {name!r}.", where=where, remedy=remedy)
    if asked.text and asked.messages:
        raise UserError("the text is in one column.", where=where, remedy="give --text or --messages, not both.")
    label = _label_column(rows, names, asked, where)
    if label is None and not asked.ordinary:
        remedy = f"name it with --label, one of {', '.join(names)}."
        raise UserError("no column is plainly the label.", where=where, remedy=remedy)
    left = [name for name in names if name not in (label, asked.id, asked.group)]
    text = asked.messages or asked.text or _named(left, _TEXTS) or _the_only_prose(rows, left)
    if text is None:
        remedy = f"name it with --text or --messages, one of {', '.join(left)}."
        raise UserError("no column is plainly the text.", where=where, remedy=remedy)
    said = [conversation(row[text])[0] for row in rows if is_given(row.get(text))]
    is_conversation = asked.messages is not None or (bool(said) and all(map(_is_messages, said)))
    id_ = asked.id or _named([name for name in left if name != text], _IDS)
    return Columns(text, is_conversation, label, id_, asked.group or _named(left, ("group",)))


def _label_column(rows: Sequence[Mapping[str, Any]], names: Sequence[str], asked: Asked, where: str) -> str | None:
    if not asked.ordinary:
        found = asked.label or _holding(rows, names, asked.positive)
        return found or _named(names, _LABELS) or _two_valued(rows, names)
    if asked.label or asked.positive:
        problem = "every row of a control set is taken as ordinary traffic, whatever a column says."
        remedy = "leave out --label and --positive, and bring a file without the rows that are not."
        raise UserError(problem, where=where, remedy=remedy)
    return None


def conversation(value: Any) -> tuple[Any, bool]:
    """A cell with the messages that it holds as text, and whether that was a Python list instead of JSON."""
    if not isinstance(value, str) or not value.lstrip().startswith("["):
        return value, False
    for read, is_repaired in ((json.loads, False), (_python_value, True)):
        try:
            found: Any = read(value.strip())
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
        if _is_messages(found):
            return found, is_repaired
    return value, False


def label_word(value: Any) -> str | None:
    """A label's value as a word: true for True, 1 for 1.0; None where there is none."""
    if not is_given(value):
        return None
    text = str(value).casefold() if isinstance(value, bool) else str(value)
    word = unicodedata.normalize("NFC", text).strip()
    return None if word.casefold() in ("nan", "#n/a") else re.sub(r"^(-?\d+)\.0+$", r"\1", word)


def label_meanings(
    counts: Mapping[str, int], column: str, positive: Sequence[str], classes: Classes | None, *, where: str
) -> dict[str, Label]:
    """Each value of the label column -> its class.

    Args:
        counts: value -> rows.
        column: name of the column.
        positive: values that the user calls positive; without any, words that mean the same everywhere are read.
        classes: the words of a concept, which are read too.

    Raises:
        UserError: a positive value does not occur, a value's class is not plain, or all rows are of one class.
    """
    values = f"{column!r} holds {_listed(counts)}"
    if positive:
        wanted = {(label_word(value) or "").casefold(): value for value in positive}
        known = {word.casefold() for word in counts}
        for word, value in wanted.items():
            if word not in known:
                raise UserError(f"no row has the label {value!r}; {values}.", where=where, remedy="correct --positive.")
        neither = {word for word, label in _plain(classes).items() if label is Label.AMBIGUOUS}
        meanings = {word: _side(word.casefold(), wanted, neither) for word in counts}
    else:
        plain = _plain(classes)
        plain |= _OWN_WORDS if column == "labels" else {}
        if unknown := [word for word in counts if word.casefold() not in plain]:
            remedy = f"name the positive ones: --positive {unknown[0]!r}, once for each."
            raise UserError(f"which labels are positive is not plain: {values}.", where=where, remedy=remedy)
        meanings = {word: plain[word.casefold()] for word in counts}
    found = set(meanings.values()) - {Label.AMBIGUOUS}
    if len(found) < 2:
        one = (classes or _UNNAMED).word(next(iter(found), Label.AMBIGUOUS))
        remedy = "take another column with --label, other values with --positive, or add rows of the other class."
        raise UserError(f"every row is {one}: {values}.", where=where, remedy=remedy)
    return meanings


def words_in(meanings: Mapping[str, Label]) -> Classes:
    """The words that a table has for its classes, where each has one of its own; else positive and negative."""
    own = {label: [word for word, found in meanings.items() if found is label] for label in Label}
    plain = {word for words in _WORDS.values() for word in words}
    high, low = own[Label.HIGH], own[Label.LOW]
    if len(high) != 1 or len(low) != 1 or {high[0].casefold(), low[0].casefold()} & plain:
        return _UNNAMED
    try:
        return Classes(positive=high[0], negative=low[0])
    except ValidationError:  # no words that could stand in a file's name or a sentence
        return _UNNAMED


def _plain(classes: Classes | None) -> dict[str, Label]:
    """Word, in lower case -> the class that it names without the user's word."""
    plain = {word: label for label, words in _WORDS.items() for word in words}
    own = {classes.word(label).casefold(): label for label in Label} if classes else {}
    return plain | own


def _side(word: str, positive: Container[str], ambiguous: Container[str]) -> Label:
    return Label.HIGH if word in positive else Label.AMBIGUOUS if word in ambiguous else Label.LOW


def _listed(counts: Mapping[str, int]) -> str:
    ordered = sorted(counts, key=lambda word: (-counts[word], word))
    more = f" and {len(ordered) - _SHOWN:,} other values" if len(ordered) > _SHOWN else ""
    return ", ".join(f"{word[:40]!r} ({counts[word]:,})" for word in ordered[:_SHOWN]) + more


def _named(names: Sequence[str], known: Iterable[str]) -> str | None:
    by_name = {name.casefold().strip(): name for name in reversed(names)}
    return next((by_name[name] for name in known if name in by_name), None)


def _holding(rows: Sequence[Mapping[str, Any]], names: Sequence[str], positive: Sequence[str]) -> str | None:
    """The only column that holds a value which the user calls positive."""
    wanted = {word.casefold() for value in positive if (word := label_word(value))}

    def holds(name: str) -> bool:
        return any((label_word(row.get(name)) or "").casefold() in wanted for row in rows)

    found = [name for name in names if wanted and holds(name)]
    return found[0] if len(found) == 1 else None


def _two_valued(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str | None:
    """The only column whose values are plain words of both classes."""
    plain = {word for words in _WORDS.values() for word in words}
    found: list[str] = []
    for name in names:
        words = {word.casefold() for row in rows if (word := label_word(row.get(name))) is not None}
        if len(words) == 2 and words <= plain:
            found.append(name)
    return found[0] if len(found) == 1 else None


def _the_only_prose(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str | None:
    """The only column of several words in most rows, or of messages."""

    def is_prose(value: Any) -> bool:
        return _is_messages(conversation(value)[0]) or (isinstance(value, str) and len(value.split()) > 2)

    found = [name for name in names if 2 * sum(is_prose(row.get(name)) for row in rows) > len(rows)]
    return found[0] if len(found) == 1 else None


def _is_messages(value: Any) -> bool:
    return is_list(value) and bool(value) and all(is_object(one) and {"role", "from"} & one.keys() for one in value)


def _python_value(text: str) -> Any:
    """The value of a Python literal; nothing is called or looked up."""
    if len(text) > _LONGEST_REPR:
        raise ValueError("too long")
    return ast.literal_eval(text)
