"""Run the model once over the training prompts and keep what enters several layers."""

from collections.abc import Sequence
from pathlib import Path

from models_under_pressure.activations.config import ExtractConfig, ModelConfig, PipelineModel
from models_under_pressure.core.paths import layer_store_path, the_one
from models_under_pressure.core.records import read_records
from models_under_pressure.core.section import EXPERIMENTS, model_aliases, read
from models_under_pressure.core.settings import load_settings
from models_under_pressure.experiments.shared.monitors import Layers


def command() -> None:
    """Extract the training prompts at every layer of `choose_layer.layers`, in one pass.

    Example: mup extract_layers
    """
    model, compared = read("model", PipelineModel), read("choose_layer", Layers, EXPERIMENTS)
    run(
        the_one("train").path,
        alias=model.name,
        model=model.resolved(model_aliases()),
        layers=compared.layers,
        config=read("extract", ExtractConfig).model_copy(update={"keep": compared.keep}),
    )


def run(path: Path, *, alias: str, model: ModelConfig, layers: Sequence[int], config: ExtractConfig) -> None:
    """Run the model once and write what enters each layer.

    Args:
        path: file of conversations.
        alias: name of the model, as in the stores' path.
        model: the model itself.
        layers: decoder blocks, from 0.
        config: how to extract.
    """
    from models_under_pressure.activations.extract import extract
    from models_under_pressure.activations.model import load_model

    token = load_settings().hf_token
    extract(
        read_records(path),
        model=load_model(model, token=token.get_secret_value() if token else None, layers=[max(layers)]),
        layers=list(layers),
        config=config,
        paths={layer: layer_store_path(alias, layer) for layer in layers},
    )
