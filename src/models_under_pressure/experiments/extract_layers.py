"""Run the model once over the training prompts and keep what enters several layers."""

from collections.abc import Sequence
from pathlib import Path

from models_under_pressure.activations.config import ExtractConfig, Layers, ModelConfig, PipelineModel
from models_under_pressure.core.paths import layer_store_path, the_one
from models_under_pressure.core.section import EXPERIMENTS, read


def command() -> None:
    """Extract the training prompts at every layer of `choose_layer.layers`, in one pass.

    Example: mup extract_layers
    """
    model, compared = read("model", PipelineModel), read("choose_layer", Layers, EXPERIMENTS)
    run(
        the_one("train").path,
        alias=model.name,
        model=model.resolved(read("models", dict[str, str])),
        layers=compared.layers,
        config=read("extract", ExtractConfig).model_copy(update={"keep": compared.keep}),
    )


def run(path: Path, *, alias: str, model: ModelConfig, layers: Sequence[int], config: ExtractConfig) -> None:
    """Run the model once and write what enters each layer."""
    from models_under_pressure.activations.extract import extract_files

    stores = {layer: layer_store_path(alias, layer) for layer in layers}
    for _ in extract_files([(path, stores)], model=model, config=config):
        pass
