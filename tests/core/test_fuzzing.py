"""No bytes that a user's file may hold end a reader with a traceback."""

import json

import numpy as np
import pytest
from fuzzing import many
from hypothesis import given
from hypothesis import strategies as st
from small_store import small_store

from models_under_pressure.activations.config import ExtractConfig, PipelineModel
from models_under_pressure.activations.model import model_of
from models_under_pressure.activations.store import open_store
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import read_json
from models_under_pressure.core.records import read_records
from models_under_pressure.core.section import check_names, load_yaml, read, runs_code_of
from models_under_pressure.core.settings import load_settings
from models_under_pressure.core.tables import read_table
from models_under_pressure.datasets.lineage import load_lineage
from models_under_pressure.probes.families import FAMILIES, TrainConfig
from models_under_pressure.probes.probe import Probe, load_probe, save_probe
from models_under_pressure.remotes.target import load_bucket_settings

pytestmark = pytest.mark.timeout(3600)  # `make fuzz` draws ten thousand inputs of each reader

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=10**300, max_value=10**400)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(
        ["high-stakes", "user", "[{", "\ud800", "\x00", "-0", "1e999", "2020-01-01", "~", "*a", "&a b", "!!x"]
    )
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)


def as_json(value):
    return json.dumps(value).encode()


def survives(reader, *arguments):
    """It reads, or says in one harmless line why not."""
    said = ""
    try:
        reader(*arguments)
    except UserError as error:
        said = str(error)
    assert "\n" not in said
    assert said.encode().decode() == said


def places(tree, under=()):
    """Every place of a JSON value."""
    yield under
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in pairs:
        yield from places(value, (*under, key))


def replaced(tree, place, value):
    if not place:
        return value
    copy = dict(tree) if isinstance(tree, dict) else list(tree)
    copy[place[0]] = replaced(tree[place[0]], place[1:], value)
    return copy


def damaged(content):
    """Bytes near the good ones: some flipped, cut or doubled; or any at all."""

    @st.composite
    def draw(pick):
        found = bytearray(content)
        for _ in range(pick(st.integers(1, 4))):
            at = pick(st.integers(0, len(found)))
            found[at : at + pick(st.integers(0, 3))] = pick(st.binary(max_size=3))
        return bytes(found[: pick(st.integers(0, len(found)))]) if pick(st.booleans()) else bytes(found)

    return draw() | st.binary(max_size=200)


def altered(tree):
    """The good description with another value at some places."""
    known = list(places(tree))

    @st.composite
    def draw(pick):
        found = tree
        for place in pick(st.lists(st.sampled_from(known), min_size=1, max_size=2)):
            try:
                found = replaced(found, place, pick(JSON))
            except (KeyError, IndexError, TypeError):
                continue  # another change took the place away
        return found

    return draw()


ROW = {
    "ids": "a",
    "inputs": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y", "tool_calls": [{"name": "f"}]}],
    "labels": "high-stakes",
    "scale_labels": 9,
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
    "pair_id": "p",
}
PARAMS = {
    "seed": 1,
    "model": {"name": "tiny", "dtype": "auto", "trust_remote_code": False},
    "models": {"tiny": "org/tiny"},
    "extract": {"max_tokens": 10, "batch_tokens": "auto"},
    "train": {"probes": {"mean": {"family": "mean_logistic"}, "a": {"family": "attention", "epochs": 3}}},
}
VERSION = {"parent": "mt_source", "dataset": "mt", "version": "apr_30", "steps": [{"op": "relabel"}]}
LINEAGE = {
    "sources": {"mt": {"files": [{"name": "a.csv", "url": "https://x", "sha256": "0"}], "limit": 3}},
    "versions": {
        "mt_apr_30": {"parent": "mt_source", "dataset": "mt", "version": "apr_30", "steps": [{"op": "relabel"}]}
    },
    "datasets": {"dev": {"mt_dev": "mt_apr_30"}},
}


@pytest.fixture
def file(tmp_path):
    return tmp_path / "file"


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".tsv", ".parquet"])
def test_records(suffix, tmp_path):
    path = tmp_path / f"rows{suffix}"
    good = as_json(ROW) + b"\n" if suffix != ".csv" else b'ids,inputs,labels\na,"x ""y"" z",high-stakes\n'

    @many
    @given(altered(ROW).map(lambda row: as_json(row) + b"\n") | damaged(good))
    def fuzz(content):
        path.write_bytes(content)
        survives(read_records, path)
        survives(lambda: list(read_table(path)))

    fuzz()


@pytest.mark.slow
def test_params(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("seed: 1\n")

    @many
    @given(
        altered(PARAMS).map(as_json)
        | damaged(as_json(PARAMS))
        | damaged(b"seed: 1\nmodel:\n- name: &a [*a]\n  x: |\n y")
    )
    def fuzz(content):
        path.write_bytes(content)
        survives(check_names, path)
        survives(runs_code_of, "org/tiny", path)
        for name, schema in (
            ("seed", int),
            ("model", PipelineModel),
            ("extract", ExtractConfig),
            ("train", TrainConfig),
        ):
            survives(read, name, schema, path)

    fuzz()


@pytest.mark.slow
def test_versions(tmp_path):
    path = tmp_path / "versions.yaml"

    @many
    @given(altered(LINEAGE).map(as_json) | damaged(as_json(LINEAGE)))
    def fuzz(content):
        path.write_bytes(content)
        survives(load_lineage, path)

    fuzz()


@pytest.mark.slow
def test_probes(tmp_path):
    weights = {"projection": np.ones((4, 1)), "bias": np.zeros(1)}
    origin = {"model": "m", "layer": 3, "keep": "tokens", "hook_point": "residual", "max_tokens": 9}
    save_probe(Probe(FAMILIES["mean"].config(), weights, provenance=origin), tmp_path)
    path, tensors = tmp_path / "probe.json", tmp_path / "weights.safetensors"
    good, whole = json.loads(path.read_text()), tensors.read_bytes()
    good.pop("description_sha256")

    @many
    @given(altered(good).map(as_json) | damaged(as_json(good)))
    def descriptions(content):
        path.write_bytes(content)
        survives(lambda: model_of(load_probe(tmp_path).provenance))

    @many
    @given(damaged(whole))
    def arrays(content):
        import hashlib

        tensors.write_bytes(content)
        path.write_bytes(as_json(good | {"weights_sha256": hashlib.sha256(content).hexdigest()}))
        survives(load_probe, tmp_path)

    descriptions()
    tensors.write_bytes(whole)
    arrays()


@pytest.mark.slow
def test_stores(tmp_path):
    small_store(tmp_path / "a.zarr", 5)
    files = {path: path.read_bytes() for path in (tmp_path / "a.zarr").rglob("*") if path.is_file()}
    descriptions = [path for path in files if path.suffix == ".json"]

    def use():
        store = open_store(tmp_path / "a.zarr")
        for read_part in (lambda: store.ids, lambda: store.offsets, lambda: store.roles, lambda: store.token_ids):
            survives(read_part)
        survives(store.read, 0, 5)
        survives(store.verify)

    def at(path, contents):
        return contents.map(lambda content: (path, content))

    changes = st.one_of(
        *(at(path, altered(json.loads(files[path])).map(as_json)) for path in descriptions),
        *(at(path, damaged(content)) for path, content in files.items()),
    )

    @many
    @given(changes, st.booleans())
    def fuzz(change, same_length):
        path, content = change
        if same_length:  # else the length alone gives it away
            content = content[: len(files[path])].ljust(len(files[path]))
        path.write_bytes(content)
        survives(use)
        path.write_bytes(files[path])

    fuzz()


@pytest.mark.slow
def test_env(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    good = b"OPENAI_API_KEY=k\nexport R2_JURISDICTION=\"eu\" # x\nHF_TOKEN=${X:-y}\nACTIVATIONS_DIR='a\\'b'\n"
    names = st.sampled_from(["R2_JURISDICTION", "ACTIVATIONS_DIR", "AWS_REGION", "OPENAI_API_KEY", "HF_TOKEN"])
    lines = st.tuples(names, st.text(max_size=20)).map(lambda pair: f"{pair[0]}={pair[1]}\n".encode("utf-8", "replace"))

    @many
    @given(damaged(good) | st.lists(lines, max_size=4).map(b"".join))
    def fuzz(content):
        (tmp_path / ".env").write_bytes(content)
        survives(load_settings)
        survives(load_bucket_settings)

    fuzz()


@pytest.mark.slow
def test_plain_descriptions(tmp_path):
    path = tmp_path / "x.json"

    @many
    @given(JSON.map(as_json) | st.binary(max_size=200))
    def fuzz(content):
        path.write_bytes(content)
        survives(read_json, path)
        survives(load_yaml, path, dict[str, int])

    fuzz()
