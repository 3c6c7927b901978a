"""Models and stores of strangers: nothing that comes with one runs, pickles stay shut, and each fault is one line."""

import ast
import io
import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from small_store import small_store

import models_under_pressure
from models_under_pressure.activations.config import ModelConfig
from models_under_pressure.activations.model import describe_model, load_language_model, load_model, model_of
from models_under_pressure.activations.store import open_store
from models_under_pressure.cli import main
from models_under_pressure.core.errors import UserError

CODE = """
from transformers import LlamaConfig, LlamaModel

open({trace!r}, "w").write("ran")

class Mine(LlamaConfig):
    model_type = "stranger"

class Model(LlamaModel):
    config_class = Mine
"""
LOADERS = {"from_pretrained", "from_config"}
WITHOUT_CODE = {"Tokenizer.from_pretrained", "peft.PeftConfig.from_pretrained", "peft.PeftModel.from_pretrained"}
"""Loaders of `tokenizers` and PEFT, which run none; `activations.adapters` sees to pickles."""


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.fixture
def folder(model_directory, tmp_path, monkeypatch):
    """A model that may be changed, and a terminal at which somebody answers every question with yes."""
    copy = tmp_path / "stranger"
    shutil.copytree(model_directory("llama"), copy)
    (copy / "evil.py").write_text(CODE.format(trace=str(tmp_path / "ran")))
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n" * 9))
    return copy


def refusal(folder, load=load_model):
    with pytest.raises(UserError) as caught:
        load(ModelConfig(name=str(folder), dtype="float32"))
    assert "\n" not in str(caught.value)
    assert not (folder.parent / "ran").exists()
    return str(caught.value)


def of_config(folder):
    edit(folder / "config.json", model_type="stranger", auto_map={"AutoConfig": "evil.Mine", "AutoModel": "evil.Model"})


def of_another_repository(folder):
    edit(folder / "config.json", model_type="stranger", auto_map={"AutoConfig": "nobody/nothing--evil.Mine"})


def of_tokenizer(folder):
    edit(
        folder / "tokenizer_config.json", tokenizer_class="Mine", auto_map={"AutoTokenizer": ["evil.Mine", "evil.Mine"]}
    )


@pytest.mark.parametrize("load", [describe_model, load_model, load_language_model])
@pytest.mark.parametrize("change", [of_config, of_another_repository, of_tokenizer])
def test_code_that_comes_with_a_model_never_runs_whatever_is_answered(change, load, folder):
    change(folder)
    assert "contains code of its own; not run" in refusal(folder, load)
    assert not (folder.parent / "ran").exists()
    assert sys.stdin.read() == "y\n" * 9


def test_code_for_a_model_that_the_library_knows_is_not_needed(folder):
    edit(folder / "config.json", auto_map={"AutoConfig": "evil.Mine", "AutoModel": "evil.Model"})
    (folder / "custom_generate").mkdir()
    (folder / "custom_generate/generate.py").write_text((folder / "evil.py").read_text())
    load_model(ModelConfig(name=str(folder)))
    assert not (folder.parent / "ran").exists()


def test_no_description_can_turn_the_switch():
    assert not model_of({"model": "m", "trust_remote_code": True}).trust_remote_code


@pytest.mark.parametrize("described", [{}, {"model": "m", "compute_dtype": "huge"}, {"model": ["m"]}])
def test_a_description_of_no_model_is_one_line(described):
    with pytest.raises(UserError, match="no model is described by"):
        model_of(described)


@pytest.fixture
def store(folder, tmp_path, monkeypatch, capfd):
    """Run `mup acts store` on a model with code of its own, answering yes: (status, output, errors)."""
    of_config(folder)
    (tmp_path / "one.jsonl").write_text('{"inputs": "hello"}\n')
    monkeypatch.chdir(tmp_path)

    def run(model):
        arguments = ["acts", "store", "--layer", "1", "--dataset", "one.jsonl", "--model", str(model)]
        monkeypatch.setattr(sys, "argv", ["mup", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, *capfd.readouterr()

    return run


def test_acts_store_says_so_in_one_line_without_a_question(store, folder):
    status, shown, errors = store(folder)
    assert (status, shown) == (1, "")
    assert errors.count("\n") == 1, errors
    assert "contains code of its own; not run" in errors
    assert not (folder.parent / "ran").exists()
    assert sys.stdin.read() == "y\n" * 9


@pytest.mark.slow
def test_the_code_runs_for_the_model_that_the_switch_stands_beside_and_for_no_other(store, folder, warm_run):
    """What runs is a process of its own: its code stays loaded."""
    params = folder.parent / "params.yaml"
    params.write_text("model:\n  name: other\n  trust_remote_code: true\nmodels:\n  mine: stranger\n")
    assert store("mine")[0] == 1
    assert not (folder.parent / "ran").exists()
    params.write_text(params.read_text().replace("other", "mine"))
    done = warm_run("-m", "models_under_pressure", *sys.argv[1:], input="y\n")
    assert done.returncode == 0, done.stderr
    assert (folder.parent / "ran").exists()


class Bomb:
    def __init__(self, trace):
        self.trace = str(trace)

    def __reduce__(self):
        return (open, (self.trace, "w"))


def pickled(folder):
    (folder / "model.safetensors").unlink()
    torch.save({"x": Bomb(folder.parent / "ran")}, folder / "pytorch_model.bin")
    return "has no weights as safetensors; pickled ones are not read"


def pickled_shards(folder):
    pickled(folder)
    (folder / "pytorch_model.bin").rename(folder / "part.bin")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": {"x": "part.bin"}}))
    return "'part.bin', which are no safetensors"


def shards_elsewhere(folder):
    (folder / "model.safetensors").rename(folder.parent / "other.safetensors")
    index = {"metadata": {}, "weight_map": {"x": "../other.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return "'../other.safetensors', which are no safetensors beside it"


def pickle_named_by_the_config(folder):
    pickled(folder)
    (folder / "pytorch_model.bin").rename(folder / "adapter_model.bin")
    edit(folder / "config.json", transformers_weights="adapter_model.bin")
    return "'adapter_model.bin', which are no safetensors"


def adapter(folder):
    torch.save({"x": Bomb(folder.parent / "ran")}, folder / "adapter_model.bin")
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "nobody/nothing", "peft_type": "LORA"}')
    return "comes with an adapter"


def kernel(folder):
    edit(folder / "config.json", attn_implementation="nobody/kernel")
    return "wants the kernel 'nobody/kernel'; not run"


def broken_header(folder):
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(b"\xff" * 8 + content[8:])
    return "cannot be loaded (Error while deserializing header"


def cut_weights(folder):
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])
    return "cannot be loaded (Error while deserializing header"


def empty_weights(folder):
    (folder / "model.safetensors").write_bytes(b"")
    return "cannot be loaded ("


def package_missing(folder):
    edit(folder / "config.json", quantization_config={"quant_method": "gptq", "bits": 4})
    return "install the package that the message names"


def quantised_in_a_way_nobody_knows(folder):
    from safetensors.torch import load_file, save_file

    weights = {f"{name}.packed": one for name, one in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    edit(folder / "config.json", quantization_config={"quant_method": "nobody's"})
    return "lacks 38 of its weights"


def config_of_another_shape(folder):
    edit(folder / "config.json", num_hidden_layers="four")
    return "cannot be loaded ("


def config_that_is_a_list(folder):
    (folder / "config.json").write_text("[]")
    return "cannot be loaded ("


def config_nested_too_deep(folder):
    (folder / "config.json").write_text('{"a":' * 100_000)
    return "cannot be loaded ("


def broken_tokenizer(folder):
    (folder / "tokenizer.json").write_text('{"version": "1.0", "model": {"type": "none"}}')
    return "cannot be loaded ("


FAULTS = [
    pickled,
    pickled_shards,
    shards_elsewhere,
    pickle_named_by_the_config,
    adapter,
    kernel,
    broken_header,
    cut_weights,
    empty_weights,
    package_missing,
    quantised_in_a_way_nobody_knows,
    config_of_another_shape,
    config_that_is_a_list,
    config_nested_too_deep,
    broken_tokenizer,
]


@pytest.mark.parametrize("damage", FAULTS)
def test_what_a_folder_may_not_hold_is_one_line(damage, folder):
    assert damage(folder) in refusal(folder)


def test_a_model_without_its_head_is_not_asked_with_a_head_drawn_at_random(folder):
    assert "lacks 1 of its weights, first lm_head.weight" in refusal(folder, load_language_model)


def test_every_call_that_loads_says_whether_code_may_run_and_every_one_of_weights_takes_safetensors_only():
    root = Path(models_under_pressure.__file__).parent
    found = {}
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in LOADERS:
                given = {keyword.arg for keyword in node.keywords}
                found[f"{path.relative_to(root)}:{node.lineno}"] = (ast.unparse(node.func), given)
            if isinstance(node, ast.Attribute) and node.attr in {"load", "loads"}:
                assert ast.unparse(node.value) not in {"torch", "pickle", "joblib", "numpy", "np"}, path
    assert len(found) >= 6
    by_name = {place for place, (call, _) in found.items() if call in WITHOUT_CODE}
    given = {place: names for place, (_, names) in found.items() if place not in by_name}
    assert not [place for place, names in given.items() if not names & {"trust_remote_code", None}]


@pytest.fixture
def store_files(tmp_path):
    """A store of two records whose bytes may be changed."""
    return small_store(tmp_path / "a.zarr", 500)


@pytest.mark.parametrize("part", ["roles", "token_ids", "offsets", "ids"])
def test_a_flipped_byte_of_a_small_array_is_one_line_where_it_is_read(part, store_files):
    chunk = next(file for file in (store_files / part).rglob("*") if file.is_file() and file.name != "zarr.json")
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 0xFF
    content[0] ^= 0xFF
    chunk.write_bytes(content)
    with pytest.raises(UserError, match=rf"{part} cannot be read .*delete the store") as caught:
        getattr(open_store(store_files), part)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["zarr.json", "activations/zarr.json", "roles/zarr.json"])
def test_metadata_that_is_damaged_is_one_line(name, store_files):
    whole = (store_files / name).read_bytes()
    for content in (b"{" * len(whole), whole.replace(b'"', b"'"), b"[]".ljust(len(whole)), b"\xff" * len(whole)):
        (store_files / name).write_bytes(content)
        with pytest.raises(UserError, match="delete the store") as caught:
            assert open_store(store_files).roles.size
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", ["[]", "{}", '{"files": []}', '{"files": {"zarr.json": 3}}', '{"files": {"x": {}}}']
)
def test_a_manifest_that_lists_no_files_is_one_line(content, store_files):
    (store_files / "manifest.json").write_text(content)
    with pytest.raises(UserError, match=r"manifest\.json does not list files"):
        open_store(store_files)


@pytest.mark.parametrize("name", [".DS_Store", "roles/.DS_Store", "Thumbs.db", "activations/c/._0"])
def test_a_file_that_a_desktop_left_is_named_as_foreign_and_the_store_is_whole(name, store_files, capsys):
    (store_files / name).write_bytes(b"x")
    open_store(store_files).verify()
    assert f"{name} is foreign to the store" in capsys.readouterr().err


def test_a_chunk_too_many_is_no_part_of_a_whole_store(store_files):
    (store_files / "roles/c/9").write_bytes(b"x")
    with pytest.raises(UserError, match="damaged or foreign, first roles/c/9"):
        open_store(store_files).verify()
