"""Stage `label_deployment`: the deployment sets."""

from dataclasses import asdict
from pathlib import Path

from models_under_pressure.datasets.deployment import CONTEXTS, keep_whole_pairs, read_prompts
from models_under_pressure.datasets.labelling import LabelConfig, label_records, unanswered
from models_under_pressure.errors import UserError
from models_under_pressure.files import write_json
from models_under_pressure.llm.ask import Asker
from models_under_pressure.records import Record, write_records

PROMPTS = Path("data/raw/deployment")
DEPLOYMENT = Path("data/deployment")


def run(*, label: LabelConfig, ask: Asker) -> None:
    """Label the prompts of each context, keep whole pairs, and write each set and `combined`.

    Raises:
        UserError: a context would have no pairs.
    """
    sets: dict[str, list[Record]] = {}
    dropped: dict[str, list[dict[str, str]]] = {}
    for context in CONTEXTS:
        prompts = read_prompts(PROMPTS / f"{context}_deployment.csv", context)
        labelled = label_records(prompts, config=label, ask=ask)
        pairs = keep_whole_pairs(labelled.records)
        if not pairs.records:
            raise UserError(
                f"no pair of {context} has labels as meant.",
                where=str(PROMPTS),
                remedy="see the explanations of the labels, and rewrite the prompts.",
            )
        sets[context] = list(pairs.records)
        dropped[context] = [asdict(row) for row in (*unanswered(labelled.failures), *pairs.dropped)]
    sets["combined"] = [record for records in sets.values() for record in records]
    for name, records in sets.items():
        write_records(DEPLOYMENT / f"{name}.jsonl", records)
    write_json(
        DEPLOYMENT / "report.json", {"rows": {name: len(rows) for name, rows in sets.items()}, "dropped": dropped}
    )
