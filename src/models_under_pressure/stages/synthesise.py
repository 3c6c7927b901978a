"""Stage `synthesise`: the training prompts."""

from collections import Counter
from pathlib import Path

from models_under_pressure.datasets.labelling import LabelConfig, label_records
from models_under_pressure.errors import UserError
from models_under_pressure.files import read_json, write_json
from models_under_pressure.llm.ask import Asker
from models_under_pressure.records import write_records
from models_under_pressure.synthesis.generate import SynthesisConfig, Vocabulary, generate
from models_under_pressure.synthesis.selection import keep_agreeing_pairs

INPUTS = Path("data/inputs")
TRAINING = Path("data/training/prompts_4x")


def run(config: SynthesisConfig, *, label: LabelConfig, ask: Asker, seed: int) -> None:
    """Generate, label and select; write train.jsonl, test.jsonl and a report of what was dropped.

    Raises:
        UserError: a split would be empty.
    """
    vocabulary = Vocabulary(
        factors=read_json(INPUTS / "situation_factors.json"),
        variations=read_json(INPUTS / "prompt_variations.json"),
    )
    generated = generate(config, vocabulary, ask=ask, seed=seed)
    labelled = label_records(generated.records, config=label, ask=ask)
    selection = keep_agreeing_pairs(labelled.records)
    splits = {
        name: [record for record in selection.records if record.fields["split"] == name] for name in ("train", "test")
    }
    for name, records in splits.items():
        if not records:
            raise UserError(
                f"the {name} split has no rows.",
                where="params.yaml: synthesise",
                remedy="raise `situations` or change `test_fraction`.",
            )
    for name, records in splits.items():
        write_records(TRAINING / f"{name}.jsonl", records)
    write_json(
        TRAINING / "report.json",
        {
            "prompts_written": len(generated.records),
            "pairs_refused": sorted(generated.refused),
            "pairs_dropped": [{"pair_id": pair, "reason": reason} for pair, reason in selection.dropped],
            "questions_without_answer": len(generated.failures) + len(labelled.failures),
            "rows": {name: len(records) for name, records in splits.items()},
            "languages": dict(Counter(str(record.fields["language"]) for record in selection.records)),
        },
    )
