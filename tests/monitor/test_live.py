"""A model under watch writes what it writes alone, and its tokens have the scores that `mup score` gives later."""

import io
import json
from copy import deepcopy
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from models_under_pressure.activations.chat import ChatTemplate
from models_under_pressure.activations.config import ModelConfig
from models_under_pressure.activations.model import load_language_model, load_model
from models_under_pressure.activations.ragged import ArrayActivations
from models_under_pressure.core.conversation import Message, ToolCall
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.records import to_record
from models_under_pressure.monitor.live import Monitor
from models_under_pressure.monitor.score import score_records, token_texts
from models_under_pressure.probes.calibration import Threshold
from models_under_pressure.probes.families import FAMILIES
from models_under_pressure.tools.score import command as score
from models_under_pressure.tools.watch import command

ASKED = (Message("system", "You are the captain."), Message("user", "Is the ship on fire?"))
SAMPLED = {"do_sample": True, "temperature": 1.3, "top_k": 0}


@pytest.fixture(scope="module")
def model(model_folder):
    return load_language_model(ModelConfig(name=str(model_folder), dtype="float32"))


@pytest.fixture(scope="module")
def reader(model_folder):
    """The same model as `mup score` loads it."""
    return load_model(ModelConfig(name=str(model_folder), dtype="float32"), layers=[2])


@pytest.fixture(scope="module")
def of_family(fit):
    """A probe of each family, fitted once."""
    return cache(lambda name: fit(name, **({"epochs": 2} if "epochs" in FAMILIES[name].config.model_fields else {})))


def flagging(probe, logit):
    """The probe, with a threshold of its logit."""
    row = Threshold(budget=0.01, logit=logit, fpr=0, fpr_low=0, fpr_high=1, tpr=1, negatives=1, positives=1)
    return replace(probe, thresholds=(row,))


def alone(model, monitor, seed, **sampling):
    """What the model writes without anybody watching."""
    import torch

    ids, _ = monitor.read(to_record({"inputs": [vars_of(one) for one in ASKED]}, where="", default_id="a"))
    prompt = torch.tensor([[*ids.tolist(), *model.tokenizer("<|im_start|>assistant\n")["input_ids"]]])
    torch.manual_seed(seed)
    settings = {"do_sample": False, "max_new_tokens": 24, **sampling}
    found = model.model.generate(prompt, attention_mask=torch.ones_like(prompt), **settings)
    return prompt[0].tolist(), found[0, prompt.shape[1] :].tolist()


def vars_of(message):
    return {"role": message.role, "content": message.content}


@pytest.mark.parametrize(
    "sampling",
    [
        {},
        SAMPLED,
        {"do_sample": True, "top_k": 20, "top_p": 0.9, "temperature": 0.7},
        {"do_sample": True, "min_p": 0.002, "top_k": 0, "min_new_tokens": 24},
        {"repetition_penalty": 1.3},
    ],
)
def test_the_reply_is_the_one_that_the_model_writes_alone(model, probe, sampling):
    monitor = Monitor({"a": probe}, model)
    _, expected = alone(model, monitor, 1, **sampling)
    found = [step.token_id for step in monitor.generate(ASKED, max_new_tokens=24, seed=1, **sampling)]
    ends = model.tokenizer.eos_token_id
    assert found == [token for token in expected if token != ends]
    assert len(found) > 3


@pytest.mark.parametrize("family", FAMILIES)
def test_each_tokens_score_is_that_of_the_conversation_up_to_it(model, of_family, family):
    import torch

    probe = of_family(family)
    monitor = Monitor({"a": probe}, model)
    steps = list(monitor.generate(ASKED, max_new_tokens=12, seed=3, **SAMPLED))
    prompt, _ = alone(model, monitor, 3, **SAMPLED)
    ids = torch.tensor([prompt + [step.token_id for step in steps]])
    with torch.inference_mode():
        states = model.model(ids, output_hidden_states=True).hidden_states[2][0].numpy()
    reply = monitor.generate(ASKED, max_new_tokens=12, seed=3, **SAMPLED)
    roles = np.append(reply._roles, [2] * len(steps)).astype(np.int8)
    for count, step in enumerate(steps, start=1):
        own = slice(len(prompt) + count)
        activations = ArrayActivations(
            states[own], np.array([0, own.stop]), ["a"], roles[own], probe.provenance, ids[0].numpy()[own]
        )
        assert step.logits["a"] == pytest.approx(probe.decision_function(activations)[0], abs=1e-4)


AGENT = (
    Message("system", "You are the captain."),
    Message("user", "Is the ship on fire?"),
    Message("assistant", "I look.", thinking="Smoke?", tool_calls=(ToolCall("look", '{"deck": 2}', "c1"),)),
    Message("tool", "smoke on deck two", tool_call_id="c1"),
    Message("user", "And now?"),
)
EVERYTHING = ("system", "user", "assistant", "template", "tool", "thinking")
_OPENS = "{% if add_generation_prompt %}"
TEMPLATES = {
    "chatml": None,
    "headers": "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '<|im_end|>\n\n' + m['content'] }}"
    "<|im_end|>{% endfor %}" + _OPENS + "{{ '<|im_start|>assistant<|im_end|>\n\n' }}{% endif %}",
    "without a system turn, trimmed": "{% for m in messages %}{% if m['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "{{ '<|im_start|>' + ('model' if m['role'] == 'assistant' else m['role']) + '\n' + m['content'] | trim + "
    "'<|im_end|>\n' }}{% endfor %}" + _OPENS + "{{ '<|im_start|>model\n' }}{% endif %}",
    "without an opening": "{% for m in messages %}{% if m['role'] == 'assistant' %}{{ m['content'] + '<|im_end|>' }}"
    "{% else %}{{ '[' + m['role'] + '] ' + m['content'] + ' [/]' }}{% endif %}{% endfor %}",
}


def with_template(loaded, template):
    """The model, whose tokenizer has another chat template."""
    tokenizer = deepcopy(loaded.tokenizer)
    tokenizer.chat_template = template or tokenizer.chat_template
    return replace(loaded, tokenizer=tokenizer)


def of_template(probe, loaded):
    """The probe, as if it had been trained with the model's template."""
    known = ChatTemplate(loaded.tokenizer, loaded.name).hash
    return replace(probe, provenance={**probe.provenance, "template_hash": known})


def check_replay(reply, probe, reader):
    (scored,) = score_records([reply.outcome.record], probe, reader)
    assert reply.outcome.logits["a"] == pytest.approx(scored.logit, abs=1e-4)
    assert reply.outcome.probabilities["a"] == pytest.approx(scored.probability, abs=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_replay_equals_live(model, reader, of_family, family):
    probe = of_family(family)
    for asked, seed in [(ASKED, 0), (ASKED, 1), (AGENT, 2)]:
        reply = Monitor({"a": probe}, model).generate(asked, max_new_tokens=20, seed=seed, **SAMPLED)
        assert list(reply)
        assert reply.outcome.record.messages[: len(asked)] == asked
        check_replay(reply, probe, reader)


@pytest.fixture(scope="module")
def all_seeing(fit):
    return fit("attention", epochs=2, tokens=EVERYTHING)


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
def test_replay_equals_live_with_every_template_and_role(model, reader, all_seeing, template):
    watched, read = with_template(model, template), with_template(reader, template)
    probe = of_template(all_seeing, watched)
    for asked in (ASKED, AGENT):
        reply = Monitor({"a": probe}, watched).generate(asked, max_new_tokens=12, seed=4, **SAMPLED)
        assert list(reply)
        check_replay(reply, probe, read)


def test_a_reply_that_thinks_is_replayed_with_its_thoughts(model, reader, all_seeing):
    thoughtful = replace(all_seeing, config=all_seeing.config.model_copy(update={"tokens": ("thinking",)}))
    for probe, sees in ((all_seeing, True), (thoughtful, False)):
        reply = Monitor({"a": probe}, model).generate(ASKED, max_new_tokens=12, seed=4, **SAMPLED)
        for step in reply:
            assert (step.logits["a"] is not None) is sees
            reply.end("finished", "<think>\nSmoke?\n</think>\n\nYes.")
        check_replay(reply, probe, reader)


def test_a_blank_reply_is_no_turn_and_the_score_is_that_of_the_conversation_without_it(model, reader, all_seeing):
    reply = Monitor({"a": all_seeing}, model).generate(ASKED, max_new_tokens=4)
    for _ in reply:
        reply.end("finished", " ")
    assert reply.outcome.record.messages == ASKED
    check_replay(reply, all_seeing, reader)


def test_a_line_of_the_log_is_a_record_that_scores_the_same(model, reader, probe):
    reply = Monitor({"a": probe}, model).generate(ASKED, max_new_tokens=10)
    list(reply)
    row = reply.outcome.row
    assert row["action"] in ("finished", "length")
    (scored,) = score_records([to_record(row, where="log", default_id="0")], probe, reader)
    assert row["scores"]["a"]["logit"] == pytest.approx(scored.logit, abs=1e-4)


def test_a_flag_stops_the_reply_at_the_token_that_reaches_the_threshold(model, fit):
    probe = fit("max", epochs=2)
    free = list(Monitor({"a": probe}, model).generate(ASKED, max_new_tokens=16, seed=5, **SAMPLED))
    height = max(step.logits["a"] for step in free)
    place = next(number for number, step in enumerate(free) if step.logits["a"] == height)
    asked = []

    def judge(step):
        asked.append(step)
        return False

    monitor = Monitor({"a": flagging(probe, height)}, model)
    reply = monitor.generate(ASKED, max_new_tokens=16, seed=5, on_flag=judge, **SAMPLED)
    steps = list(reply)
    assert [step.token_id for step in steps] == [step.token_id for step in free[: place + 1]]
    assert asked == [steps[-1]]
    assert reply.outcome.action == "stopped"
    assert reply.outcome.flagged == ("a",)
    assert reply.outcome.tokens == len(steps)


def test_a_judge_who_lets_it_go_on_is_asked_once(model, probe):
    asked = []
    monitor = Monitor({"a": flagging(probe, -1e9)}, model)
    steps = list(monitor.generate(ASKED, max_new_tokens=8, on_flag=lambda step: not asked.append(step)))
    assert len(asked) == 1
    assert all(step.flagged == ("a",) for step in steps)


def test_a_rate_for_which_the_control_set_is_too_small_is_refused_and_the_others_are_named(model, probe):
    kept, other = flagging(probe, 0.5).thresholds[0], 0.001
    small = kept.model_copy(update={"budget": other, "logit": None, "refused": "needs 2,995 conversations, has 714"})
    both = replace(probe, thresholds=(kept, small))
    assert Monitor({"it": both}, model).thresholds == {"it": 0.5}
    with pytest.raises(UserError, match="at FPR 0.001: its control set needs 2,995") as raised:
        Monitor({"it": both}, model, fpr=other)
    assert "(0.01)" in str(raised.value)


def test_thresholds_are_checked_every_so_many_tokens(model, probe):
    monitor = Monitor({"a": flagging(probe, -1e9)}, model)
    steps = list(monitor.generate(ASKED, max_new_tokens=9, every=3, seed=2, **SAMPLED))
    assert [bool(step.flagged) for step in steps] == [(number + 1) % 3 == 0 for number in range(len(steps))]


def test_who_stops_listening_stops_the_model(model, probe):
    reply = Monitor({"a": probe}, model).generate(ASKED, max_new_tokens=500, seed=2, **SAMPLED)
    steps = iter(reply)
    next(steps)
    steps.close()
    assert reply.outcome is None
    assert not any(module._forward_pre_hooks for module in model.model.modules())


def test_several_probes_share_the_pass(model, fit, probe):
    other = fit("mean")
    both = Monitor({"a": probe, "b": other}, model)
    steps = list(both.generate(ASKED, max_new_tokens=6))
    single = list(Monitor({"b": other}, model).generate(ASKED, max_new_tokens=6))
    assert [step.logits["b"] for step in steps] == [step.logits["b"] for step in single]
    assert steps[0].logits.keys() == {"a", "b"}


def test_the_texts_of_the_tokens_are_those_of_a_finished_conversation(model, probe):
    reply = Monitor({"a": probe}, model).generate(ASKED, max_new_tokens=20, seed=7, **SAMPLED)
    steps = list(reply)
    expected = token_texts([step.token_id for step in steps], model.tokenizer)
    assert [step.text for step in steps[:-1]] == expected[:-1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"revision": "another"}, "revision is"),
        ({"template_hash": "0"}, "template_hash"),
        ({"keep": "mean"}, "keep"),
        ({"model": "gpt2"}, "model is"),
    ],
)
def test_a_probe_of_another_model_is_refused(model, probe, change, message):
    with pytest.raises(UserError, match=message):
        Monitor({"a": replace(probe, provenance={**probe.provenance, **change})}, model)


def test_what_cannot_be_watched_is_refused(model, probe):
    with pytest.raises(UserError, match="no probe"):
        Monitor({}, model)
    monitor = Monitor({"a": probe}, model)
    with pytest.raises(UserError, match="num_beams"):
        monitor.generate(ASKED, num_beams=2)
    with pytest.raises(UserError, match="temperature"):
        monitor.generate(ASKED, do_sample=True, temperature=-1.0)
    short = Monitor({"a": replace(probe, provenance={**probe.provenance, "max_tokens": 5})}, model)
    with pytest.raises(UserError, match="the probes read 5"):
        short.generate(ASKED)


def test_a_talk_in_a_terminal_without_colours_is_plain_lines_and_a_log(probe_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO("Is there a fire?\n\nAre you sure?\n"))
    log = tmp_path / "log.jsonl"
    command([str(probe_folder)], max_new_tokens=5, log=log)
    printed = capsys.readouterr().out.splitlines()
    verdicts = [line for line in printed if line.startswith("[")]
    assert len(verdicts) == 2
    assert all("flagged" in line and "after" in line for line in verdicts)
    first, second = (json.loads(line) for line in log.read_text().splitlines())
    assert [turn["role"] for turn in first["inputs"]] == ["user", "assistant"]
    assert second["inputs"][: len(first["inputs"])] == first["inputs"]
    assert "\x1b" not in "".join(printed)

    score(str(probe_folder), str(log), replay=True)
    assert "2 conversations verified" in capsys.readouterr().out
    first["scores"][str(probe_folder)]["logit"] += 0.01
    log.write_text(json.dumps(first) + "\n")
    with pytest.raises(UserError, match="was logged with the logit"):
        score(str(probe_folder), str(log), replay=True)
    log.write_text(json.dumps(first | {"scores": {}}) + "\n")
    with pytest.raises(UserError, match="has no score of this probe"):
        score(str(probe_folder), str(log), replay=True)
