"""`mup baselines prompted --api`: a model behind an API, on any data, outside the pipeline."""

from collections.abc import Sequence
from pathlib import Path

from models_under_pressure.baselines.asked import ask_stakes, write_asked
from models_under_pressure.baselines.data import LabelledRecords
from models_under_pressure.commands import asking
from models_under_pressure.commands.recorded import recorded
from models_under_pressure.evaluation.metrics import auroc
from models_under_pressure.llm.config import LLMConfig
from models_under_pressure.llm.rehearsal import Rehearsal, Round
from models_under_pressure.llm.store import ReplyStore
from models_under_pressure.params.schema import PARAMS_PATH, load_params

_NAME = "replies"


def ask_model(
    model: str,
    datasets: Sequence[LabelledRecords],
    folder: Path,
    *,
    record: bool,
    dry_run: bool,
    allow_missing: int | None,
) -> None:
    """Ask about every record, print AUROC of each dataset, and keep rows and replies.

    Args:
        model: name, as the endpoint spells it.
        datasets: what is asked about.
        folder: of the rows, and of the record file of replies.
        record: whether replies that are not recorded are asked for.
        dry_run: print the questions and their cost only.
        allow_missing: records that may stay without an answer; None leaves it to params.yaml.

    Raises:
        UserError: replies are missing and not to be asked for, or see `recorded`.
    """
    llm = load_params().llm if PARAMS_PATH.exists() else LLMConfig(model=model)
    llm = asking.with_options(llm.model_copy(update={"model": model}), allow_missing=allow_missing, refresh=None)
    if record:
        llm = llm.model_copy(update={"mode": "record"})

    def rounds(store: ReplyStore) -> Sequence[Round]:
        rehearsal = Rehearsal(llm, store)
        ask_stakes(datasets, rehearsal)
        return rehearsal.rounds

    if dry_run:
        asking.dry_run(_NAME, llm, rounds, folder=folder)
        return
    with recorded(_NAME, llm, folder) as ask:
        found = ask_stakes(datasets, ask)
    print(f"{'dataset':24}{'AUROC':>8}{'records':>9}{'unanswered':>12}")
    for asked in found:
        write_asked(folder / f"{asked.data.name}.jsonl", asked)
        labels = asked.data.labels
        value = f"{auroc(asked.probabilities, labels):.3f}" if labels.any() and not labels.all() else "-"
        print(f"{asked.data.name:24}{value:>8}{len(labels):9}{len(asked.unanswered):12}")
    print(f"rows and replies: {folder}")
