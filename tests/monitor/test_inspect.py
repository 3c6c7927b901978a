"""An evaluation of inspect_ai logs the score that `mup score` gives.

The library is imported where it is used: it takes a second, and every process of a run imports every module of tests.
"""

import pytest

from models_under_pressure.core.conversation import Message
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.records import Record
from models_under_pressure.monitor.score import load_probe_model, score_records


def test_an_evaluation_logs_each_samples_score(probe, probe_folder, tmp_path):
    from inspect_ai import Task, eval
    from inspect_ai.dataset import Sample
    from inspect_ai.model import ModelOutput, ModelUsage, get_model
    from inspect_ai.solver import generate

    from models_under_pressure.inspect import probe_score

    said = ["Ring the fire brigade, 東京.", "A poem."]
    replies = [ModelOutput.from_content("mockllm/model", text) for text in said]
    for reply in replies:  # counting tokens would fetch a vocabulary
        reply.usage = ModelUsage()
    samples = [Sample(input="Fire in the kitchen!", id=1), Sample(input="Write a poem.", id="p")]
    task = Task(dataset=samples, solver=generate(), scorer=probe_score(str(probe_folder), device="cpu"))
    model = get_model("mockllm/model", custom_outputs=replies)
    (log,) = eval(task, model=model, log_dir=str(tmp_path), display="none", max_samples=1)
    assert log.status == "success", log.error
    records = [
        Record(str(sample.id), (Message("user", sample.input), Message("assistant", text)))
        for sample, text in zip(samples, said, strict=True)
    ]
    expected = list(score_records(records, probe, load_probe_model(probe, device="cpu")))
    for sample, scored in zip(log.samples, expected, strict=True):
        found = sample.scores["probe_score"]
        assert found.value["probability"] == pytest.approx(scored.probability, abs=1e-4)
        assert found.value["flagged"] == scored.flagged[0.01]
        assert found.metadata["logit"] == pytest.approx(scored.logit, abs=1e-4)
    means = {score.name: score.metrics["mean"].value for score in log.results.scores}
    assert means["probability"] == pytest.approx(sum(one.probability for one in expected) / 2, abs=1e-4)


def conversation_of(*messages, tools=()):
    from inspect_ai.solver import TaskState

    from models_under_pressure.inspect import to_conversation

    state = TaskState(model="mockllm/model", sample_id="s", epoch=2, input="x", messages=list(messages))
    state.tools = list(tools)
    return to_conversation(state)


async def alarm(street: str) -> str:
    """Ring the bell.

    Args:
        street: where it burns.
    """
    return street


def test_tools_calls_and_reasoning_are_read():
    from inspect_ai.model import (
        ChatMessageAssistant,
        ChatMessageSystem,
        ChatMessageTool,
        ChatMessageUser,
        ContentReasoning,
        ContentText,
    )
    from inspect_ai.tool import ToolCall, ToolDef

    call = ToolCall(id="c1", function="alarm", arguments={"street": "東"})
    tool = ToolDef(alarm, name="alarm", description="Ring the bell.", parameters={"street": "where it burns"})
    record = conversation_of(
        ChatMessageSystem(content="Be quick."),
        ChatMessageUser(content=[ContentText(text="Fire"), ContentText(text="!")]),
        ChatMessageAssistant(content=[ContentReasoning(reasoning="Smoke."), ContentText(text="")], tool_calls=[call]),
        ChatMessageTool(content="rung", tool_call_id="c1", function="alarm"),
        tools=[tool],
    )
    system, user, assistant, reply = record.messages
    assert record.id == "s#2"
    assert (system.content, user.content, assistant.thinking) == ("Be quick.", "Fire!", "Smoke.")
    assert [(one.name, one.arguments, one.id) for one in assistant.tool_calls] == [("alarm", '{"street": "東"}', "c1")]
    assert (reply.role, reply.content, reply.tool_call_id) == ("tool", "rung", "c1")
    assert record.tools[0]["function"]["name"] == "alarm"
    assert "street" in record.tools[0]["function"]["parameters"]["properties"]


def test_what_is_no_text_is_refused_by_name():
    from inspect_ai.model import ChatMessageUser, ContentImage

    picture = ChatMessageUser(content=[ContentImage(image="data:image/png;base64,AA==")])
    with pytest.raises(UserError, match="sample s: content has a part of the type 'image'"):
        conversation_of(picture)
