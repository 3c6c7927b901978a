"""Turn the answers that the project's authors wrote for the demo corpus into recorded replies.

    uv run python scripts/author_demo_replies.py

Run it after a change of a prompt, a recipe or the corpus: the requests change then, and with them the keys of the
replies. The answers (data/demo/answers) stay as they are. The stages run as in `dvc repro`, in order, with an asker
that looks answers up by record id instead of asking a model.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from authored import author_replies

from models_under_pressure.core.concept import load_concept
from models_under_pressure.core.section import read
from models_under_pressure.datasets.labelling import LabelConfig, Labeller, labeller
from models_under_pressure.datasets.lineage import load_lineage
from models_under_pressure.datasets.steps.tools import FirstSentenceReply, SystemPromptReply
from models_under_pressure.llm.ask import Answer, Ask, Asker
from models_under_pressure.llm.config import LLMConfig
from models_under_pressure.stages import fetch, label_deployment, parse, relabel, synthesise
from models_under_pressure.synthesis.generate import pair_id
from models_under_pressure.synthesis.questions import prompt_form, situation_form
from models_under_pressure.synthesis.selection import SynthesisConfig

ANSWERS = Path("data/demo/answers")
REPLIES = Path("data/demo/replies")
MODEL = "demo-authors"
STAKES = load_concept("stakes")


def main() -> None:
    """Write data/demo/replies/*.jsonl anew."""
    seed, label = read("seed", int), labeller(STAKES, read("relabel", LabelConfig))
    for path in REPLIES.glob("*.jsonl"):
        path.unlink()
    _author_training_prompts(label, seed)
    _author_labels(label, seed)
    _author_deployment(label)


def _author_training_prompts(label: Labeller, seed: int) -> None:
    rows = [row for path in sorted(ANSWERS.glob("synthesise_*.jsonl")) for row in _rows(path)]
    situations = {row["situation_id"]: row for row in rows}
    labels: dict[str, dict[str, Any]] = {}
    pairs: dict[str, dict[str, Any]] = {}
    for row in rows:
        for pair in row["pairs"]:
            id_ = pair_id(row["situation_id"], pair["index"])
            pairs[id_] = pair
            for prompt, told in zip((pair["prompt_1"], pair["prompt_2"]), pair["labels"], strict=False):
                labels[prompt.strip()] = told

    def answer(ask: Ask[Any]) -> Any:
        if ask.reply is situation_form(STAKES.classes, "stakes"):
            row = situations[ask.record_id]
            return ask.reply(high_stakes=row["high_stakes"], low_stakes=row["low_stakes"])
        if ask.reply is prompt_form(STAKES.classes):
            pair = pairs[ask.record_id]
            return ask.reply(prompt_1=pair["prompt_1"], prompt_2=pair["prompt_2"])
        return ask.reply.model_validate(labels[ask.messages[-1].content])

    asker = _author(answer, REPLIES / "synthesise.jsonl")
    synthesise.run(read("synthesise", SynthesisConfig), STAKES, label=label, ask=asker, seed=seed)


def _author_labels(label: Labeller, seed: int) -> None:
    lineage = load_lineage()
    for source, config in lineage.sources.items():
        fetch.run(source, origin="demo", files=())
        parse.run(source, config=config, seed=seed)
    last = {version.dataset: key for key, version in lineage.versions.items() if _relabels(version)}
    for key, version in lineage.versions.items():
        dataset = version.dataset
        answers = {row["id"]: row for row in _rows(ANSWERS / f"labels_{dataset}.jsonl")}
        answer = _eval_answer(dataset, answers, earlier=key != last[dataset])
        asker = _author(answer, REPLIES / f"relabel_{dataset}.jsonl")
        relabel.run(version, splits=lineage.splits_of(version), label=label, ask=asker, seed=seed)


def _author_deployment(label: Labeller) -> None:
    fetch.run("deployment", origin="demo", files=())
    answers = {row["id"]: row for row in _rows(ANSWERS / "labels_deployment.jsonl")}
    asker = _author(_label_answer(answers, earlier=False), REPLIES / "label_deployment.jsonl")
    label_deployment.run(STAKES.deployment, label=label, ask=asker)


def _eval_answer(dataset: str, answers: Mapping[str, dict[str, Any]], *, earlier: bool) -> Callable[[Ask[Any]], Any]:
    label = _label_answer(answers, earlier=earlier)
    sentences = {
        row["id"]: row["sentence"]
        for path in (ANSWERS / f"{name}_{dataset}.jsonl" for name in ("first_sentence", "system_prompt"))
        if path.exists()
        for row in _rows(path)
    }

    def answer(ask: Ask[Any]) -> Any:
        if ask.reply is FirstSentenceReply:
            return FirstSentenceReply(sentence=sentences[ask.record_id])
        if ask.reply is SystemPromptReply:
            return SystemPromptReply(system_prompt=_system_prompt(sentences[ask.record_id], ask))
        return label(ask)

    return answer


def _system_prompt(sentence: str, ask: Ask[Any]) -> str:
    """The deployment, the form of a call, and the functions as the prompt before listed them."""
    functions = next(line for line in ask.messages[-1].content.splitlines() if line.startswith('[{"name"'))
    return f"{sentence}\nAnswer with calls [name(param=value)] of these functions and nothing else:\n{functions}"


def _label_answer(answers: Mapping[str, dict[str, Any]], *, earlier: bool) -> Callable[[Ask[Any]], Any]:
    def answer(ask: Ask[Any]) -> Any:
        row = answers[ask.record_id]
        row = row.get("earlier", row) if earlier else row
        return ask.reply(explanation=row["explanation"], stakes=row["stakes"], confidence=row["confidence"])

    return answer


def _author(answer: Callable[[Ask[Any]], Any], path: Path) -> Asker:
    config = read("llm", LLMConfig)
    given: dict[tuple[Any, ...], Any] = {}

    def ask(asks: Sequence[Ask[Any]], /) -> list[Answer[Any]]:
        # rows with the same text are one question, whose first answer counts; `sample` tells repetitions apart
        answers = [given.setdefault((one.messages, one.reply, one.sample), answer(one)) for one in asks]
        author_replies(asks, answers, config=config, path=path, model=MODEL)
        return [Answer(value, MODEL) for value in answers]

    return ask


def _relabels(version: Any) -> bool:
    return any(step.op == "relabel" for step in version.steps)


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


if __name__ == "__main__":
    main()
