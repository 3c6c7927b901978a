"""Every kind of step that a recipe can name; a new kind is a class and a line here."""

from typing import Annotated

from pydantic import Field

from models_under_pressure.datasets.steps.clinical import DropIfShorterThan, FormatTranscription, ParseConversation
from models_under_pressure.datasets.steps.rows import DropOverlaps, DropRows, MoveLast, Relabel
from models_under_pressure.datasets.steps.system import (
    AddSystemPrompt,
    DropDuplicateSystemPrompt,
    ReplaceSystemPrompt,
)
from models_under_pressure.datasets.steps.tools import RemoveSentence, RewriteFirstSentence, RewriteSystemPrompt

Step = Annotated[
    AddSystemPrompt
    | DropDuplicateSystemPrompt
    | DropIfShorterThan
    | DropOverlaps
    | DropRows
    | FormatTranscription
    | MoveLast
    | ParseConversation
    | Relabel
    | RemoveSentence
    | ReplaceSystemPrompt
    | RewriteFirstSentence
    | RewriteSystemPrompt,
    Field(discriminator="op"),
]
