"""A scorer for inspect_ai (extra `inspect`): an evaluation logs a probe's score of each conversation."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anyio import to_thread
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageTool,
    ContentReasoning,
    ContentText,
)
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer, stderr
from inspect_ai.solver import TaskState
from inspect_ai.tool import ToolDef

from models_under_pressure.api import load_probe
from models_under_pressure.core.records import Record, to_record
from models_under_pressure.monitor.score import load_probe_model, score_records
from models_under_pressure.probes.probe import weights_hash


@scorer(metrics={"probability": [mean(), stderr()], "flagged": [mean(), stderr()]})
def probe_score(probe: str, *, fpr: float = 0.01, device: str = "auto") -> Scorer:
    """Score each sample's conversation as `mup score` does: the value has its probability and whether it is flagged.

    The probe's own model reads the conversation, whichever model wrote it. Logit, hash of the weights and id stand in
    the metadata. Nothing is compared with the target.

    Args:
        probe: folder of a probe, or `hf://owner/name[@revision]`.
        fpr: false positive rate whose stored threshold flags; a probe without it flags nothing.
        device: auto, or a torch device.

    Raises:
        UserError: the probe or its model cannot be loaded; or, of a sample: it holds what is no text, or the chat
            template refuses it.
    """
    loaded = load_probe(probe if "://" in probe else Path(probe))
    model, weights = load_probe_model(loaded, device=device), weights_hash(loaded)
    turn = threading.Lock()  # samples come at once, and there is one model

    def read(record: Record) -> Score:
        with turn:
            (found,) = score_records([record], loaded, model)
        value = {"probability": found.probability, "flagged": int(found.flagged.get(fpr, False))}
        return Score(value=value, metadata={"logit": found.logit, "weights": weights})

    async def score(state: TaskState, target: Target) -> Score:
        return await to_thread.run_sync(read, to_conversation(state))

    return score


def to_conversation(state: TaskState) -> Record:
    """A sample's conversation with its tools, as a record.

    Raises:
        UserError: a message holds an image, sound or another thing that is no text.
    """
    tools = [tool if isinstance(tool, ToolDef) else ToolDef(tool) for tool in state.tools]
    row = {
        "ids": f"{state.sample_id}#{state.epoch}",
        "messages": [_message(message) for message in state.messages],
        "tools": [_definition(tool) for tool in tools],
    }
    return to_record(row, where=f"sample {state.sample_id}", default_id="")


def _message(message: ChatMessage) -> dict[str, Any]:
    """A message as chat endpoints write it."""
    content = message.content
    parts: Sequence[Any] = [ContentText(text=content)] if isinstance(content, str) else content
    thoughts = [part.reasoning for part in parts if isinstance(part, ContentReasoning)]
    said = [
        {"type": "text", "text": part.text} if isinstance(part, ContentText) else {"type": part.type}
        for part in parts
        if not isinstance(part, ContentReasoning)
    ]
    row: dict[str, Any] = {"role": message.role, "content": said, "reasoning_content": "\n".join(thoughts)}
    if isinstance(message, ChatMessageAssistant) and message.tool_calls:
        row["tool_calls"] = [
            {"id": call.id, "function": {"name": call.function, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    if isinstance(message, ChatMessageTool):
        row |= {"name": message.function, "tool_call_id": message.tool_call_id}
    return row


def _definition(tool: ToolDef) -> dict[str, Any]:
    parameters = tool.parameters.model_dump(exclude_none=True)
    told = {"name": tool.name, "description": tool.description, "parameters": parameters}
    return {"type": "function", "function": told}
