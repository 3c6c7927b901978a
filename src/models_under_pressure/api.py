"""What a researcher does from Python: conversations to activations, to a probe, to scores. See docs/python.md."""

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import checked

if TYPE_CHECKING:
    from models_under_pressure.activations.config import LoadedModel
    from models_under_pressure.activations.ragged import Activations
    from models_under_pressure.core.records import Record
    from models_under_pressure.monitor.score import Scored
    from models_under_pressure.probes.probe import Probe

Conversation: TypeAlias = "str | Sequence[Mapping[str, Any]] | Mapping[str, Any] | Record"
"""A prompt, a list of chat messages, a row as docs/datasets.md describes it, or a record."""


def conversations(given: Iterable[Conversation]) -> "list[Record]":
    """Records of conversations as people have them; those without an id are numbered from 0.

    Raises:
        UserError: naming the position of what is no conversation, or of an id that another one has.
    """
    from models_under_pressure.core.records import Record, collect_records, to_row

    def row(item: Conversation) -> object:
        if isinstance(item, Record):
            return to_row(item)
        return item if isinstance(item, Mapping) else {"inputs": item}

    return collect_records(enumerate(map(row, given), start=1), where="conversation")


def load_model(name: str, *, layer: int | None = None, device: str = "auto", dtype: Any = "auto") -> "LoadedModel":
    """Load a Hugging Face model, by id, by path, or the embedded `smollm2-135m`.

    Args:
        name: the model.
        layer: load only the blocks below this one; None loads all.
        device: auto, or a torch device.
        dtype: auto, fast, float32 or bfloat16: precision of the forward pass.

    Raises:
        UserError: the model is not found, gated, or has no such layer.
    """
    from models_under_pressure.activations import model
    from models_under_pressure.activations.config import ModelConfig

    config = checked(ModelConfig, {"name": name, "device": device, "dtype": dtype})
    return model.load_model(config, layers=None if layer is None else [layer])


def extract(
    given: Iterable[Conversation],
    model: "str | LoadedModel",
    *,
    layer: int | Sequence[int],
    path: Path | None = None,
    **settings: Any,
) -> "Activations":
    """Activations of conversations at one layer, or at several side by side, in the order given.

    Args:
        given: the conversations.
        model: a loaded model, or the name of one, which is then loaded as far as the layer.
        layer: decoder block, from 0, or several; activations are of what enters it.
        path: where to write a store (whose rows are in the order of the ids), of several layers a folder with a store
            `layer_<L>.zarr` of each; None keeps the activations in memory.
        settings: fields of `ExtractConfig`: `hook_point`, `keep`, `max_tokens`, `stored` and others. `stored` is
            float32 unless told.

    Raises:
        UserError: a conversation is refused, the model has no such layer, or a value is not finite.
    """
    import numpy as np

    from models_under_pressure.activations import extract as extraction
    from models_under_pressure.activations.config import ExtractConfig
    from models_under_pressure.activations.layers import open_layers
    from models_under_pressure.activations.ragged import View
    from models_under_pressure.probes.data import in_memory

    layers = sorted(set(layer)) if isinstance(layer, Sequence) else [int(layer)]
    if not layers:
        raise UserError("no layer is given.", remedy="give a decoder block, from 0, or several.")
    loaded = load_model(model, layer=max(layers)) if isinstance(model, str) else model
    records = conversations(given)
    config = checked(ExtractConfig, {"stored": "float32", **settings})
    with tempfile.TemporaryDirectory(prefix="mup-extract-") as folder:
        place = path or Path(folder) / "stores"
        places = {one: place if len(layers) == 1 else place / f"layer_{one}.zarr" for one in layers}
        extraction.extract(records, model=loaded, config=config, paths=places)
        store = open_layers(list(places.values()))
        found = store if path else in_memory(store, most_gib=float("inf"))
    row_of = {id_: row for row, id_ in enumerate(found.ids)}
    return View([(found, np.array([row_of[record.id] for record in records]))])


def fit(
    activations: "Activations",
    labels: "Sequence[bool] | Iterable[Record]",
    *,
    validation: "tuple[Activations, Sequence[bool] | Iterable[Record]] | None" = None,
    control: "Activations | None" = None,
    family: str = "attention",
    seed: int = 0,
    **settings: Any,
) -> "Probe":
    """Fit a probe.

    Args:
        activations: the training data.
        labels: whether each record is high-stakes, in the order of the activations' ids; or the records, in any order,
            whose labels and groups are then taken.
        validation: activations and labels that choose the epoch, the thresholds and the calibration.
        control: activations of ordinary conversations, from which thresholds with a promise come instead; `validation`
            then gives their true positive rates.
        family: one of those in docs/probes.md.
        seed: of where the fitting starts, and of its folds.
        settings: hyper-parameters of the family.

    Raises:
        UserError: the family or a setting is unknown, the data hold one class only, labels and activations are of
            different records, or there is a control set and no validation.
    """
    from models_under_pressure.probes.operating import with_control
    from models_under_pressure.probes.training import fit_probe

    config = family_config(family, settings)
    held_out = None if validation is None else _labelled(*validation)
    fitted = fit_probe(config, _labelled(activations, labels), held_out, seed=seed)
    if control is None:
        return fitted
    if held_out is None:
        raise UserError("a control set gives false positive rates only.", remedy="give `validation` too.")
    return with_control(fitted, [_labelled(control, [False] * len(control.ids))], held_out)


def family_config(family: str, settings: Mapping[str, Any]) -> Any:
    """Hyper-parameters of a probe family, its defaults where none are given.

    Raises:
        UserError: the family or a setting is unknown, or a value is out of range.
    """
    from models_under_pressure.probes.families import FAMILIES

    if family not in FAMILIES:
        raise UserError(f"no probe family {family!r}.", remedy=f"use one of {', '.join(FAMILIES)}.")
    return checked(FAMILIES[family].config, settings)


def _labelled(activations: "Activations", labels: "Sequence[bool] | Iterable[Record]") -> Any:
    import numpy as np

    from models_under_pressure.core.records import Record
    from models_under_pressure.probes.data import TrainingData, with_labels

    given = list(labels)
    records = [label for label in given if isinstance(label, Record)]
    if records:
        return with_labels(activations, records)
    if len(given) != len(activations.ids):
        problem = f"{len(given)} labels for {len(activations.ids)} records."
        raise UserError(problem, remedy="give one label for each record, in the order of `activations.ids`.")
    return TrainingData(activations, np.asarray(given, dtype=bool), list(activations.ids))


def load_probe(place: "str | Path") -> "Probe":
    """Read a probe from a folder, or from the hub: `hf://owner/name`, or `hf://owner/name@revision`.

    Raises:
        UserError: there is none, a file is damaged, or the hub cannot be asked.
    """
    from models_under_pressure.probes import hub, probe

    if isinstance(place, str) and place.startswith(hub.SCHEME):
        place = hub.pull_probe(place)
    return probe.load_probe(Path(place))


def score(
    given: Iterable[Conversation], probe: "Probe", model: "LoadedModel | None" = None, *, tokens: bool = False
) -> "Iterator[Scored]":
    """Yield the score of each conversation, in their order: logit, probability and flags.

    Args:
        given: the conversations.
        probe: from `fit` or `load_probe`.
        model: the probe's model where it is loaded already.
        tokens: whether each token's text, role, logit and contribution are wanted too.

    Raises:
        UserError: the model is not the probe's, or a conversation is refused.
    """
    from models_under_pressure.monitor.score import load_probe_model, score_records

    loaded = load_probe_model(probe) if model is None else model
    return score_records(conversations(given), probe, loaded, tokens=tokens)
