"""Ask for the training prompts, label them, and keep the pairs whose labels agree with the intent."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from models_under_pressure.core.concept import Concept, chosen_concept
from models_under_pressure.core.display import notice
from models_under_pressure.core.files import read_json, write_json
from models_under_pressure.core.paths import CONFOUNDERS, TRAINING
from models_under_pressure.core.records import Label, Record, write_records
from models_under_pressure.core.section import read
from models_under_pressure.datasets.labelling import LabelConfig, Labeller, label_records, labeller
from models_under_pressure.llm import options
from models_under_pressure.llm.answering import recorded
from models_under_pressure.llm.ask import Asker, Failure
from models_under_pressure.llm.config import LLMConfig
from models_under_pressure.llm.options import Rehearsal
from models_under_pressure.synthesis.assemble import assemble
from models_under_pressure.synthesis.confounders import STATES, report, to_table
from models_under_pressure.synthesis.questions import WORDS, writer
from models_under_pressure.synthesis.sampling import Vocabulary, load_vocabulary
from models_under_pressure.synthesis.selection import SPLITS, SynthesisConfig, WordFilter, meant_high

INPUTS = Path("data/inputs")


def command(
    preview: Annotated[
        int,
        typer.Option(min=0, metavar="N", help="Ask nothing: show the first N questions of each kind, and the cost."),
    ] = 0,
    dry_run: options.DryRun = False,
    allow_missing: options.AllowMissing = None,
    refresh: options.Refresh = None,
) -> None:
    """Make the training prompts, and show what else than the concept tells the classes apart.

    Example: mup synthesise --preview 5
    """
    config, concept, seed = read("synthesise", SynthesisConfig), chosen_concept(), read("seed", int)
    llm = options.with_options(read("llm", LLMConfig), allow_missing=allow_missing, refresh=refresh)
    if concept.synthesis is None or not config.situations:
        why = "synthesise.situations is 0" if concept.synthesis else f"{concept.where} says nothing of synthesis"
        notice(f"no training prompts are written: {why}")
        with recorded("synthesise", llm):
            write_json(TRAINING / "report.json", {"rows": dict.fromkeys(SPLITS, 0)})
            write_json(CONFOUNDERS, {"summary": {}})
        return
    label = labeller(concept, read("relabel", LabelConfig))
    if dry_run or preview:
        options.dry_run(
            "synthesise",
            llm,
            lambda ask: rehearse(config, concept, label=label, ask=ask, seed=seed),
            most=preview,
            words=WORDS,
        )
        return
    with recorded("synthesise", llm) as ask:
        run(config, concept, label=label, ask=ask, seed=seed)
    summary = read_json(CONFOUNDERS)["summary"]
    print(to_table({state: summary[state] for state in STATES}), end="")


def run(config: SynthesisConfig, concept: Concept, *, label: Labeller, ask: Asker, seed: int) -> None:
    """Write train.jsonl, test.jsonl, a report of what was left out, and the confounders before and after the filter.

    Raises:
        UserError: a split would be empty, or smaller than asked for.
    """

    def labelled(records: Sequence[Record]) -> tuple[Sequence[Record], Sequence[Failure]]:
        result = label_records(records, how=label, ask=ask)
        return result.records, result.failures

    made = assemble(config, vocabulary(concept), writer(concept), ask=ask, label=labelled, seed=seed)
    confounders = report(made.unfiltered, made.records, seed=seed)
    for split in SPLITS:
        write_records(TRAINING / f"{split}.jsonl", (row for row in made.records if row.fields["split"] == split))
    write_json(TRAINING / "report.json", made.report)
    write_json(CONFOUNDERS, confounders)


def rehearse(config: SynthesisConfig, concept: Concept, *, label: Labeller, ask: Rehearsal, seed: int) -> None:
    """Ask what a run would; nothing is written.

    While the replies are unknown every prompt counts as labelled as meant, and none is filtered.

    Raises:
        UserError: a split would be empty, or smaller than asked for, even so.
    """

    def labelled(records: Sequence[Record]) -> tuple[Sequence[Record], Sequence[Failure]]:
        result = label_records(records, how=label, ask=ask)
        if ask.is_certain:
            return result.records, result.failures
        return [replace(row, label=Label.HIGH if meant_high(row) else Label.LOW) for row in records], ()

    unfiltered = config.model_copy(update={"word_filter": WordFilter(keep=1)})
    assemble(unfiltered, vocabulary(concept), writer(concept), ask=ask, label=labelled, seed=seed)


def vocabulary(concept: Concept) -> Vocabulary:
    """The concept's factors, and the variations of data/inputs.

    Raises:
        UserError: the concept says nothing of synthesis, or a file is missing or wrong.
    """
    return load_vocabulary(INPUTS, concept.needed("synthesis").factors)
