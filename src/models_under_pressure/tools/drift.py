"""Compare new traffic with the control set and the training prompts; status 3 is an alarm."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from models_under_pressure.tools.score import Device, ProbeName, load_with_model, read_conversations

if TYPE_CHECKING:
    from models_under_pressure.activations.config import LoadedModel
    from models_under_pressure.activations.ragged import Activations
    from models_under_pressure.core.records import Record
    from models_under_pressure.evaluation.drift import Check, Drift, Promise, Traffic
    from models_under_pressure.probes.probe import Probe

ALARM_STATUS = 3
"""Exit status of an alarm; 1 is an error, 2 a wrong option."""
_CONFIDENCE = 0.95
"""Coverage of the intervals of flag rates."""


def command(
    probe: ProbeName,
    file: Annotated[
        str, typer.Argument(help="New traffic: JSON Lines, CSV, TSV or Parquet with `inputs`; - is standard input.")
    ] = "-",
    control: Annotated[
        Path | None, typer.Option(help="File of ordinary traffic; by default the project's control set.")
    ] = None,
    alpha: Annotated[float, typer.Option(min=1e-6, max=0.5, help="Chance of a false alarm.")] = 0.01,
    allow_refused: Annotated[int, typer.Option(help="Conversations that the chat template may refuse.")] = 0,
    form: Annotated[Literal["text", "json"], typer.Option("--format", help="How to print it.")] = "text",
    seed: Annotated[int, typer.Option(help="Seed of the permutations.")] = 42,
    device: Device = "auto",
) -> None:
    """Compare new traffic with the control set and the training prompts: scores, flag rates, activations.

    Ends with status 3 when the new traffic is not like the control set, from which the thresholds' promise comes, or
    is flagged more often than they promise. Flags of conversations that deserve one count too: read some of them.

    Example: mup drift --probe attention traffic_of_this_week.jsonl
    """
    from models_under_pressure.core.errors import UserError
    from models_under_pressure.core.paths import IN_USE
    from models_under_pressure.evaluation.drift import compare_traffic

    records = read_conversations(file)
    if not records:
        raise UserError("there is no conversation.", where=file, remedy="name a file that holds some.")
    ordinary = None if control is None else read_conversations(str(control))
    loaded, model = load_with_model(probe, device)
    known = _stored(loaded, "control") if ordinary is None else _read(ordinary, loaded, model, allow_refused)
    found = compare_traffic(
        _read(records, loaded, model, allow_refused),
        known,
        _stored(loaded, "train") if IN_USE.exists() else None,
        promises(loaded),
        alpha=alpha,
        confidence=_CONFIDENCE,
        seed=seed,
    )
    print(to_json(found) if form == "json" else to_text(found), end="")
    if found.alarm:
        raise typer.Exit(ALARM_STATUS)


def promises(probe: "Probe") -> "list[Promise]":
    """The probe's thresholds with the rates that they promise; a validation split's promise only their budget."""
    from models_under_pressure.evaluation.drift import Promise

    return [
        Promise(row.budget, row.logit, row.budget if row.bound is None else row.bound)
        for row in probe.thresholds
        if row.refused is None
    ]


def _read(records: "Sequence[Record]", probe: "Probe", model: "LoadedModel", allow_refused: int) -> "Traffic":
    """Conversations read by the model as it read the training data."""
    from models_under_pressure.activations.config import ExtractConfig
    from models_under_pressure.activations.layers import read_once
    from models_under_pressure.core.layers import layers_of

    names = ("hook_point", "keep", "max_tokens", "truncation_side")
    known = {name: probe.provenance[name] for name in names if name in probe.provenance}
    config = ExtractConfig.model_validate(known | {"allow_refused": allow_refused, "stored": "float32"})
    with read_once(records, model, layers_of(probe.provenance), config) as found:
        return _traffic(probe, found)


def _stored(probe: "Probe", purpose: "Literal['control', 'train']") -> "Traffic":
    """The datasets in use for a purpose, from the project's activations.

    Raises:
        UserError: there is no such dataset, or no store of it; or the store is not one that the probe reads.
    """
    import numpy as np

    from models_under_pressure.activations.config import PipelineModel, ProbeParams
    from models_under_pressure.activations.layers import open_layers
    from models_under_pressure.activations.ragged import View
    from models_under_pressure.core.errors import UserError
    from models_under_pressure.core.paths import control_sets, datasets_in_use
    from models_under_pressure.core.section import read

    datasets = control_sets() if purpose == "control" else datasets_in_use(purpose)
    if not datasets:
        remedy = "name a file of ordinary traffic with --control, or `mup datasets import --purpose control`."
        raise UserError("there is no control set.", remedy=remedy)
    model, place = read("model", PipelineModel).name, read("probe", ProbeParams)
    stores = [open_layers([*place.stores(model, one).values()]) for one in datasets]
    return _traffic(probe, View([(store, np.arange(len(store.ids))) for store in stores]))


def _traffic(probe: "Probe", activations: "Activations") -> "Traffic":
    from models_under_pressure.evaluation.drift import Traffic
    from models_under_pressure.probes.tokens import select, survey

    logits = probe.decision_function(activations)
    seen = select(activations, probe.config.tokens, first_token=probe.config.first_token)
    return Traffic(logits, survey(seen).means)


def to_json(found: "Drift") -> str:
    """The comparison as JSON."""
    from dataclasses import asdict

    from models_under_pressure.evaluation.drift import QUANTILES

    named = {side: dict(zip(map(str, QUANTILES), values, strict=True)) for side, values in found.quantiles.items()}
    shown = {"alarm": found.alarm, **asdict(found), "quantiles": named}
    return json.dumps(shown, indent=2) + "\n"


def to_text(found: "Drift") -> str:
    """The comparison as two tables and a verdict."""
    from models_under_pressure.core.display import text_table
    from models_under_pressure.evaluation.drift import QUANTILES

    heads = ("logits", ">n", *(f">{100 * share:g} %" for share in QUANTILES))
    sides = [
        (side, f"{found.sizes[side]:,}", *(f"{value:.3f}" for value in values))
        for side, values in found.quantiles.items()
    ]
    checks = [_check(check) for check in found.checks]
    apart = [f"activations, {pair}: {value:.3f}\n" for pair, value in found.distances.items()]
    rung = [check.name for check in found.checks if check.alarm]
    verdict = f"alarm: {', '.join(rung)}" if rung else "no alarm: the new traffic is like the control set"
    table = text_table(("check", ">found", "95 % interval", "promised", ">p", ""), checks)
    return "\n".join([text_table(heads, sides), table, "".join(apart) + verdict + "\n"])


def _check(check: "Check") -> list[str]:
    interval = promised = ""
    if check.low is not None and check.high is not None and check.promised is not None:
        interval, promised = f"{check.low:.4f} to {check.high:.4f}", f"at most {check.promised:.4f}"
    return [
        check.name,
        f"{check.value:.4f}",
        interval,
        promised,
        f"{check.p_value:.4f}",
        "ALARM" if check.alarm else "",
    ]
