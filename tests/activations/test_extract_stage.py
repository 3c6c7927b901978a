"""The stage keeps a store only if nothing that made it has changed."""

import pytest

from models_under_pressure.activations import store as library
from models_under_pressure.activations.config import ExtractConfig, ModelConfig, ProbeParams
from models_under_pressure.activations.store import open_store
from models_under_pressure.core.paths import Dataset
from models_under_pressure.core.records import write_records
from models_under_pressure.stages import extract as stage


@pytest.fixture
def extract(model_directory, chats, tmp_path, monkeypatch):
    """Run the stage over two datasets; returns what became of each store."""
    monkeypatch.chdir(tmp_path)
    datasets = {name: Dataset(name, "dev") for name in ("one", "two")}
    write_records(datasets["one"].path, chats[:4])
    write_records(datasets["two"].path, chats[4:])
    model = ModelConfig(name=str(model_directory("llama")), dtype="float32")

    def run():
        done = stage.run(
            list(datasets.values()), alias="tiny", model=model, place=ProbeParams(layer=2), config=ExtractConfig()
        )
        return {path.stem: outcome for path, outcome in done}

    return run, datasets, tmp_path / "data/activations/tiny/layer_2/dev"


def test_only_a_dataset_that_changed_is_extracted_again(extract, chats):
    run, datasets, _ = extract
    assert run() == {"one": "written", "two": "written"}
    assert run() == {"one": "exists", "two": "exists"}
    write_records(datasets["two"].path, chats[5:])
    assert run() == {"one": "exists", "two": "written"}


def test_other_code_extracts_everything_again(extract, monkeypatch):
    run, _, _ = extract
    run()
    monkeypatch.setattr(library, "code_fingerprint", lambda: "changed")
    assert run() == {"one": "written", "two": "written"}


def test_a_flipped_byte_is_found_and_extracted_again(extract):
    run, _, root = extract
    run()
    shard = root / "one.zarr/activations/c/0/0"
    damaged = bytearray(shard.read_bytes())
    damaged[100] ^= 1
    shard.write_bytes(damaged)
    assert run() == {"one": "written", "two": "exists"}
    open_store(root / "one.zarr").verify()
