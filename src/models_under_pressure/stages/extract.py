"""Stage `extract`: the activations of every dataset in use."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from models_under_pressure.activations.config import ExtractConfig, ModelConfig
from models_under_pressure.settings import load_settings
from models_under_pressure.stages.paths import store_path


def run(
    datasets: Mapping[str, Path], *, alias: str, model: ModelConfig, layer: int, config: ExtractConfig
) -> Iterator[tuple[Path, str]]:
    """Run the model over datasets, in one process, and write what enters one layer.

    Stores of datasets that have not changed are kept, if this very code made them.

    Args:
        datasets: name, as in the store's path -> file of conversations.
        alias: name of the model, as in the store's path.
        model: the model itself.
        layer: decoder block, from 0.
        config: how to extract.

    Yields:
        The path of each store and what became of it: written, resumed or exists.
    """
    from models_under_pressure.activations.extract import extract_files
    from models_under_pressure.activations.library import discard_stale

    token = load_settings().hf_token
    jobs = [(path, {layer: store_path(alias, name, layer)}) for name, path in datasets.items()]
    for _, stores in jobs:
        discard_stale(stores[layer])
    secret = token.get_secret_value() if token else None
    yield from extract_files(jobs, model=model, config=config, token=secret)
