"""Stage `extract`: the activations of one dataset."""

from pathlib import Path

from models_under_pressure.activations.config import ExtractConfig, ModelConfig
from models_under_pressure.records import read_records
from models_under_pressure.settings import load_settings
from models_under_pressure.stages.paths import store_path


def run(dataset: str, *, path: Path, alias: str, model: ModelConfig, layer: int, config: ExtractConfig) -> None:
    """Run the model over a dataset and write what enters one layer.

    Args:
        dataset: name of the dataset, as in the store's path.
        path: file of conversations.
        alias: name of the model, as in the store's path.
        model: the model itself.
        layer: decoder block, from 0.
        config: how to extract.
    """
    from models_under_pressure.activations.extract import extract
    from models_under_pressure.activations.model import load_model

    token = load_settings().hf_token
    extract(
        read_records(path),
        model=load_model(model, token=token.get_secret_value() if token else None, layers=[layer]),
        layers=[layer],
        config=config,
        paths={layer: store_path(alias, dataset, layer)},
    )
