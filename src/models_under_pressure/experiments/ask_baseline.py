"""Ask a model behind an API for the class, with reasons; replies are recorded."""

from collections.abc import Sequence
from typing import Annotated

import typer

from models_under_pressure.baselines.asked import AskBaselineConfig, ask_classes, to_list, write_asked
from models_under_pressure.baselines.data import LabelledRecords, read_labelled
from models_under_pressure.core.concept import Concept, chosen_concept
from models_under_pressure.core.files import write_json
from models_under_pressure.core.paths import EXPERIMENT_RESULTS, Dataset, datasets_in_use, scores_path
from models_under_pressure.core.section import EXPERIMENTS, entry, read
from models_under_pressure.evaluation.scores import ScoreList, write_scores
from models_under_pressure.llm import options
from models_under_pressure.llm.answering import recorded
from models_under_pressure.llm.ask import Asker
from models_under_pressure.llm.config import LLMConfig


def command(
    name: Annotated[
        str, typer.Argument(help="Name of the monitor, as in experiments/params.yaml: ask_baseline.models.")
    ],
    dry_run: options.DryRun = False,
    allow_missing: options.AllowUndecided = None,
    refresh: options.Refresh = None,
) -> None:
    """Ask one model behind an API for the class of every conversation.

    Example: mup ask_baseline gpt4o --dry-run
    """
    config = entry(read("ask_baseline", AskBaselineConfig, EXPERIMENTS).models, name, "ask_baseline.models")
    llm = read("llm", LLMConfig).model_copy(update={"model": config.name})
    llm = options.with_options(llm, allow_missing=allow_missing, refresh=refresh)
    datasets, stage = datasets_in_use("dev", "test"), f"ask_baseline_{name}"
    concept = chosen_concept()
    if dry_run:
        options.dry_run(stage, llm, lambda ask: ask_classes(_read(datasets), concept, ask))
        return
    with recorded(stage, llm) as ask:
        run(name, datasets=datasets, concept=concept, ask=ask, seed=read("seed", int))


def run(name: str, *, datasets: Sequence[Dataset], concept: Concept, ask: Asker, seed: int) -> None:
    """Write what the model says of each record, and the scores."""
    folder, method = EXPERIMENT_RESULTS / "asked" / name, f"asked_{name}"
    unanswered: dict[str, object] = {}
    lists: list[ScoreList] = []
    for asked in ask_classes(_read(datasets), concept, ask):
        write_asked(folder / f"{asked.data.name}.jsonl", asked)
        lists.append(to_list(asked, method, seed=seed))
        unanswered[asked.data.name] = asked.unanswered
    write_scores(scores_path(method, EXPERIMENT_RESULTS), lists)
    write_json(folder / "unanswered.json", unanswered)


def _read(datasets: Sequence[Dataset]) -> list[LabelledRecords]:
    return [read_labelled(one.name, one.path, one.classes) for one in datasets]
