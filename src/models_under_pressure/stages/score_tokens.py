"""Score every token of a few records of each dataset, for the heat maps of the report."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from models_under_pressure.activations.config import PipelineModel, ProbeParams
from models_under_pressure.core.display import printable
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import write_jsonl
from models_under_pressure.core.paths import (
    TOKEN_SCORES,
    Dataset,
    datasets_in_use,
    probe_paths,
    scores_path,
)
from models_under_pressure.core.section import Section, read
from models_under_pressure.evaluation.scores import ScoreList, read_scores
from models_under_pressure.monitor.score import ROLE_NAMES, Choice, Decoder, choose_records, load_decoder, token_texts
from models_under_pressure.probes.data import labelled_activations
from models_under_pressure.probes.families import TrainConfig
from models_under_pressure.probes.probe import Probe, load_probe
from models_under_pressure.probes.tokens import ROLES, seen_roles


class ScoreTokens(Section):
    """Whose tokens are shown, and by which probe."""

    probe: str
    """Name of a probe in train.probes, whose first seed is shown."""
    purposes: tuple[Literal["dev", "test"], ...] = Field(min_length=1)
    """Purposes of the datasets shown."""
    choices: tuple[Choice, ...] = Field(min_length=1)
    """Rules by which records are chosen."""
    records: int = Field(ge=1)
    """Records of each choice and dataset."""


def command() -> None:
    """Score every token of a few records of each dataset, for the heat maps of the report.

    Example: mup score_tokens
    """
    config = read("score_tokens", ScoreTokens)
    model, place = read("model", PipelineModel).name, read("probe", ProbeParams)
    read("train", TrainConfig).probe(config.probe)
    datasets = datasets_in_use(*config.purposes)
    stores = [[*place.stores(model, one).values()] for one in datasets]
    run(datasets, stores=stores, config=config, seed=read("seed", int))


def run(datasets: Sequence[Dataset], *, stores: Sequence[Sequence[Path]], config: ScoreTokens, seed: int) -> None:
    """Write a row per chosen record to data/results/score_tokens.jsonl; the model is not loaded.

    Raises:
        UserError: the probe has no scores, or reads one vector per conversation.
    """
    probe = config.probe
    loaded = load_probe(probe_paths(probe, seed, 1)[0])
    if loaded.provenance.get("keep", "tokens") != "tokens":
        raise UserError(
            f"{probe!r} reads one vector per conversation, so there is nothing to say of its tokens.",
            remedy="name another probe in score_tokens.probe, or extract with keep: tokens.",
        )
    decoder, scores = load_decoder(loaded.provenance), _scores(probe)
    rows: list[dict[str, Any]] = []
    for dataset, store in zip(datasets, stores, strict=True):
        chosen = choose_records(scores[dataset.name], config.choices, config.records)
        rows += _rows(dataset, loaded, decoder, store, chosen)
    write_jsonl(TOKEN_SCORES, [{"probe": probe} | row for row in rows])


def _scores(probe: str) -> dict[str, ScoreList]:
    """Dataset -> scores of the probe's first seed."""
    path = scores_path("probes")
    found = [scores for scores in read_scores(path) if scores.probe == probe]
    if not found:
        raise UserError(f"no scores of {probe!r}.", where=str(path), remedy="name a probe of train.probes.")
    return {scores.dataset: scores for scores in sorted(found, key=lambda scores: -scores.seed)}


def _rows(
    dataset: Dataset, probe: Probe, decoder: Decoder, store: Sequence[Path], chosen: Mapping[str, Sequence[Choice]]
) -> list[dict[str, Any]]:
    whole, records = labelled_activations(store, dataset.path)
    data = whole.only(np.array([record.id in chosen for record in records], dtype=bool))
    known, activations = {record.id: record for record in records}, data.activations
    logits, alone, added = (
        part(activations) for part in (probe.decision_function, probe.score_tokens, probe.contributions)
    )
    token_ids: Any = getattr(activations, "token_ids", None)
    seen, rows = seen_roles(probe.config.tokens), {}
    for number, id_ in enumerate(activations.ids):
        own = slice(int(activations.offsets[number]), int(activations.offsets[number + 1]))
        rows[id_] = {
            "dataset": dataset.name,
            "ids": id_,
            "choices": list(chosen[id_]),
            "label": known[id_].label,
            "stakes": known[id_].scale_label,
            "logit": round(float(logits[number]), 6),
            "probability": round(float(probe.probabilities(logits[number : number + 1])[0]), 6),
            "texts": [printable(piece) for piece in token_texts(token_ids[own].tolist(), decoder)],
            "roles": [ROLE_NAMES[role] for role in activations.roles[own].tolist()],
            "logits": [round(float(value), 4) for value in alone[own]],
            "contributions": [round(float(value), 6) for value in added[own]],
            "seen": [role for role in seen if role in probe.config.tokens or ROLES[role] in activations.roles[own]],
        }
    return [rows[id_] for id_ in chosen]
