"""A model that answers any question of synthesis with text made from it, and a process that makes a training set.

making.py FOLDER SEED
"""

import hashlib
import random
import sys
from dataclasses import replace
from pathlib import Path

from models_under_pressure.core.concept import load_concept
from models_under_pressure.core.files import write_json
from models_under_pressure.core.records import Label, write_records
from models_under_pressure.llm.ask import Answer
from models_under_pressure.synthesis.assemble import assemble
from models_under_pressure.synthesis.confounders import report
from models_under_pressure.synthesis.questions import writer
from models_under_pressure.synthesis.sampling import load_vocabulary
from models_under_pressure.synthesis.selection import SynthesisConfig, WordFilter, meant_high

INPUTS = Path(__file__).parents[2] / "data" / "inputs"
STAKES = load_concept("stakes")
WRITER = writer(STAKES)
VOCABULARY = load_vocabulary(INPUTS, STAKES.synthesis.factors)
WEIGHTS = {"English": 0.7, "Hindi": 0.1, "German": 0.1, "French": 0.1}


def config(situations=6, pairs=3, **knobs):
    knobs = {"test_fraction": 0.3, "language_weights": WEIGHTS} | knobs
    return SynthesisConfig(situations=situations, prompts_per_situation=pairs, **knobs)


def inventive(asks):
    """Answers that depend on the questions alone."""
    return [
        Answer(ask.reply.model_validate(invent(ask.messages, ask.reply.model_fields, ask.sample)), "m") for ask in asks
    ]


def invent(messages, names, sample=0):
    """Values of a reply's fields. High-stakes prompts contain "h-", low-stakes ones "l-"; a third of the high ones
    also have the word "grave", which tells."""
    question = messages[-1].content
    seed = "\n".join([*(message.content for message in messages), str(sample)])
    draw = random.Random(hashlib.sha256(seed.encode()).digest())
    words = [f"word{draw.randrange(80)}" for _ in range(12)]
    if "prompt_1" in names:
        cue = ["grave"] if draw.random() < 0.3 else []
        return {"prompt_1": " ".join(["h-", *cue, *words]), "prompt_2": " ".join(["l-", *words[1:]])}
    if "confidence" in names:
        rating = 9 if "h-" in question else 2
        return {
            name: "it says so" if name == "explanation" else 9 if name == "confidence" else rating for name in names
        }
    if len(names) == 2:
        return {name: f"{name} {words}" for name in names}
    return dict(METADATA)


METADATA = {
    "stakes": "ambiguous",
    "social": "no",
    "temporal": "immediate",
    "causality": "direct",
    "subject": "user",
    "reward": "low",
    "risk": "high",
}


def as_meant(records):
    """A labeller that says what the generator meant."""
    labels = {True: Label.HIGH, False: Label.LOW}
    return [replace(record, label=labels[meant_high(record)]) for record in records], []


def main(folder, seed):
    knobs = {"neutralise": 0.4, "manipulate": 0.3, "word_filter": WordFilter(keep=0.8), "annotate": True}
    made = assemble(config(situations=12, **knobs), VOCABULARY, WRITER, ask=inventive, label=as_meant, seed=int(seed))
    write_records(Path(folder) / "rows.jsonl", made.records)
    write_json(Path(folder) / "report.json", made.report)
    write_json(Path(folder) / "confounders.json", report(made.unfiltered, made.records, seed=int(seed)))


if __name__ == "__main__":
    main(*sys.argv[1:])
