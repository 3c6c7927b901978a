"""Stage `ask_baseline`: ask one model behind an API for the stakes of every dev and test conversation."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from models_under_pressure.baselines.asked import ask_stakes, to_list, write_asked
from models_under_pressure.baselines.data import LabelledRecords, read_labelled
from models_under_pressure.core.files import write_json
from models_under_pressure.evaluation.scores import write_scores
from models_under_pressure.llm.ask import Asker
from models_under_pressure.llm.config import LLMConfig
from models_under_pressure.llm.rehearsal import Rehearsal, Round
from models_under_pressure.llm.store import ReplyStore
from models_under_pressure.stages.paths import RESULTS, scores_path


def run(name: str, *, datasets: Mapping[str, Path], ask: Asker, seed: int) -> None:
    """Write what the model says of each record, and the scores.

    Args:
        name: of the monitor, `asked_<name>` in results.
        datasets: name -> labelled records.
        ask: how questions are put.
        seed: that the scores are filed under; nothing is drawn.
    """
    folder, method = RESULTS / "asked" / name, f"asked_{name}"
    unanswered = {}
    for asked in ask_stakes(_read(datasets), ask):
        dataset = asked.data.name
        write_asked(folder / f"{dataset}.jsonl", asked)
        write_scores(scores_path(dataset, method), [to_list(asked, method, seed=seed)])
        unanswered[dataset] = asked.unanswered
    write_json(folder / "unanswered.json", unanswered)


def preview(datasets: Mapping[str, Path], *, llm: LLMConfig, store: ReplyStore) -> Sequence[Round]:
    """What a run would ask; nothing is asked or written."""
    rehearsal = Rehearsal(llm, store)
    ask_stakes(_read(datasets), rehearsal)
    return rehearsal.rounds


def _read(datasets: Mapping[str, Path]) -> list[LabelledRecords]:
    return [read_labelled(one, path) for one, path in datasets.items()]
