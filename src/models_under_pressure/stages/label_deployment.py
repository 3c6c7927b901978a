"""Label the deployment prompts and keep the pairs whose labels are as meant."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from models_under_pressure.core.concept import chosen_concept
from models_under_pressure.core.display import notice
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import write_json
from models_under_pressure.core.records import Record, write_records
from models_under_pressure.core.section import read
from models_under_pressure.datasets.deployment import keep_whole_pairs, read_prompts
from models_under_pressure.datasets.labelling import (
    LabelConfig,
    Labelled,
    Labeller,
    label_records,
    labeller,
    unanswered,
)
from models_under_pressure.llm import options
from models_under_pressure.llm.answering import recorded
from models_under_pressure.llm.ask import Asker
from models_under_pressure.llm.config import LLMConfig

PROMPTS = Path("data/raw/deployment")
DEPLOYMENT = Path("data/deployment")


def command(
    dry_run: options.DryRun = False,
    allow_missing: options.AllowMissing = None,
    refresh: options.Refresh = None,
) -> None:
    """Label the deployment prompts and keep whole pairs.

    Example: mup label_deployment
    """
    concept, config = chosen_concept(), read("relabel", LabelConfig)
    llm = options.with_options(read("llm", LLMConfig), allow_missing=allow_missing, refresh=refresh)
    if not concept.deployment:
        notice(f"the concept {concept.name} names no deployment contexts: no deployment set is made")
        with recorded("label_deployment", llm):
            write_json(DEPLOYMENT / "report.json", {"rows": {}, "dropped": {}})
        return
    label = labeller(concept, config)
    if dry_run:
        options.dry_run("label_deployment", llm, lambda ask: _labelled(concept.deployment, label, ask))
        return
    with recorded("label_deployment", llm) as ask:
        run(concept.deployment, label=label, ask=ask)


def run(contexts: Mapping[str, str], *, label: Labeller, ask: Asker) -> None:
    """Label the prompts of each context, keep whole pairs, and write each set and `combined`.

    Args:
        contexts: name of each context -> the system prompt of its conversations.
        label: how they are labelled.
        ask: the chat model.

    Raises:
        UserError: a context would have no pairs.
    """
    prompts, labelled = _labelled(contexts, label, ask)
    sets: dict[str, list[Record]] = {}
    dropped: dict[str, list[dict[str, str]]] = {}
    for context in contexts:
        ids = {record.id for record in prompts[context]}
        pairs = keep_whole_pairs([record for record in labelled.records if record.id in ids])
        lost = [failure for failure in labelled.failures if failure.record_id in ids]
        if not pairs.records:
            remedy = "see the explanations of the labels, and rewrite the prompts."
            raise UserError(f"no pair of {context} has labels as meant.", where=str(PROMPTS), remedy=remedy)
        sets[context] = list(pairs.records)
        dropped[context] = [asdict(row) for row in (*unanswered(lost), *pairs.dropped)]
    sets["combined"] = [record for records in sets.values() for record in records]
    for name, records in sets.items():
        write_records(DEPLOYMENT / f"{name}.jsonl", records)
    rows = {name: len(records) for name, records in sets.items()}
    write_json(DEPLOYMENT / "report.json", {"rows": rows, "dropped": dropped})


def _labelled(contexts: Mapping[str, str], label: Labeller, ask: Asker) -> tuple[dict[str, list[Record]], Labelled]:
    """The prompts of each context, and the labels of all."""
    prompts = {
        context: read_prompts(PROMPTS / f"{context}_deployment.csv", context, system, label.classes)
        for context, system in contexts.items()
    }
    return prompts, label_records([record for rows in prompts.values() for record in rows], how=label, ask=ask)
