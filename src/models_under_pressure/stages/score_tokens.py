"""Stage `score_tokens`: what a probe makes of every token of a few records of each dataset."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import write_jsonl
from models_under_pressure.core.settings import load_settings
from models_under_pressure.evaluation.scores import ScoreList, read_scores
from models_under_pressure.monitor.choosing import Choice, choose_records
from models_under_pressure.monitor.decoder import Decoder, load_decoder
from models_under_pressure.monitor.pieces import printable, token_texts
from models_under_pressure.monitor.rows import ROLE_NAMES
from models_under_pressure.probes.persistence import load_probe
from models_under_pressure.probes.probe import Probe
from models_under_pressure.stages.labelled import labelled_activations
from models_under_pressure.stages.paths import TOKEN_SCORES, probe_paths, scores_path


def run(
    *,
    datasets: Mapping[str, tuple[Path, Path]],
    probe: str,
    choices: Sequence[Choice],
    most: int,
    seed: int,
) -> None:
    """Write a row per chosen record to data/results/score_tokens.jsonl; the model is not loaded.

    Args:
        datasets: dataset -> its activations, and its records.
        probe: name of the probe, of which the first seed is shown.
        choices: by what records are chosen.
        most: records of each choice and dataset.
        seed: the first seed of the probes.

    Raises:
        UserError: the probe has no scores, or reads one vector per conversation.
    """
    loaded = load_probe(probe_paths(probe, seed, 1)[0])
    if loaded.provenance.get("keep", "tokens") != "tokens":
        raise UserError(
            f"{probe!r} reads one vector per conversation, so there is nothing to say of its tokens.",
            remedy="name another probe in score_tokens.probe, or extract with keep: tokens.",
        )
    token = load_settings().hf_token
    decoder = load_decoder(loaded.provenance, token=token.get_secret_value() if token else None)
    rows: list[dict[str, Any]] = []
    for dataset, (store, records) in datasets.items():
        scores = _scores(dataset, probe)
        rows += _rows(dataset, loaded, decoder, store, records, choose_records(scores, choices, most))
    write_jsonl(TOKEN_SCORES, [{"probe": probe} | row for row in rows])


def _scores(dataset: str, probe: str) -> ScoreList:
    path = scores_path(dataset, "probes")
    found = [scores for scores in read_scores(path) if scores.probe == probe]
    if not found:
        raise UserError(f"no scores of {probe!r}.", where=str(path), remedy="name a probe of train.probes.")
    return min(found, key=lambda scores: scores.seed)


def _rows(
    dataset: str,
    probe: Probe,
    decoder: Decoder,
    store: Path,
    records_path: Path,
    chosen: Mapping[str, Sequence[Choice]],
) -> list[dict[str, Any]]:
    whole, records = labelled_activations(store, records_path)
    data = whole.only(np.array([record.id in chosen for record in records], dtype=bool))
    known, activations = {record.id: record for record in records}, data.activations
    logits, alone, added = (
        part(activations) for part in (probe.decision_function, probe.score_tokens, probe.contributions)
    )
    token_ids: Any = getattr(activations, "token_ids", None)
    rows = {}
    for number, id_ in enumerate(activations.ids):
        own = slice(int(activations.offsets[number]), int(activations.offsets[number + 1]))
        rows[id_] = {
            "dataset": dataset,
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
            "seen": list(probe.config.tokens),
        }
    return [rows[id_] for id_ in chosen]
