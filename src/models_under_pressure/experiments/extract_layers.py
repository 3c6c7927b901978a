"""Run the model once over the training prompts and keep what enters several layers."""

from models_under_pressure.activations.config import ExtractConfig, Layers, PipelineModel
from models_under_pressure.core.paths import layer_store_path, the_one
from models_under_pressure.core.section import EXPERIMENTS, model_aliases, read


def command() -> None:
    """Extract the training prompts at every layer of `choose_layer.layers`, in one pass.

    Example: mup extract_layers
    """
    from models_under_pressure.activations.extract import extract_files

    model, compared = read("model", PipelineModel), read("choose_layer", Layers, EXPERIMENTS)
    stores = {layer: layer_store_path(model.name, layer) for layer in compared.layers}
    config = read("extract", ExtractConfig).model_copy(update={"keep": compared.keep})
    resolved = model.resolved(model_aliases())
    for _ in extract_files([(the_one("train").path, stores)], model=resolved, config=config):
        pass
