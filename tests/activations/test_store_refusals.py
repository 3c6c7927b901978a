"""What is wrong with a store, and with the disk that it is written to, is told in one line, word for word."""

import json

import pytest
from small_store import layout, shard_of, small_store, written

from models_under_pressure.activations import writer as writing
from models_under_pressure.activations.store import open_store
from models_under_pressure.activations.writer import StoreWriter
from models_under_pressure.core.errors import UserError


def told(act):
    with pytest.raises(UserError) as caught:
        act()
    return str(caught.value)


MEND = "Remedy: delete the store, and extract or pull it again."


def test_a_place_without_a_store_is_told_in_one_line(tmp_path):
    path = tmp_path / "a.zarr"
    assert told(lambda: open_store(path)) == (
        f"{path}: no activation store here. Remedy: run `mup extract`, `mup acts store` or `dvc pull`."
    )
    written(path, layout(), 0)
    assert told(lambda: open_store(path)) == (
        f"{path}: no activation store here but an unfinished one. "
        "Remedy: run the extraction again; it continues where it stopped."
    )


@pytest.mark.parametrize("key", ["format", "format_version"])
def test_a_store_of_another_format_is_told_in_one_line(key, tmp_path):
    path = small_store(tmp_path / "a.zarr", 5)
    described = json.loads((path / "zarr.json").read_text())
    described["attributes"][key] = 2
    content = json.dumps(described)
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["files"]["zarr.json"]["bytes"] = len(content)
    (path / "zarr.json").write_text(content)
    (path / "manifest.json").write_text(json.dumps(manifest))
    version = 2 if key == "format_version" else 1
    assert told(lambda: open_store(path)) == (
        f"{path}: the store has the format version {version}, this code reads 1 and 1.1. "
        "Remedy: extract it again with this version of the project."
    )


def test_what_is_damaged_is_told_in_one_line_with_the_file(tmp_path, capsys):
    path = small_store(tmp_path / "a.zarr", 5)
    shard, chunk = path / "activations/c/0/0", path / "roles/c/0"
    whole = shard.read_bytes()
    (path / "activations/c/1").mkdir()
    (path / "activations/c/1/0").touch()
    chunk.write_bytes(b"\0" * chunk.stat().st_size)
    store = open_store(path)
    assert told(store.verify) == f"{path}: 2 files are damaged or foreign, first activations/c/1/0. {MEND}"
    assert told(lambda: store.roles).startswith(f"{path}: roles cannot be read (")
    shard.write_bytes(whole[:8] + b"\xff" * 8 + whole[16:])
    assert told(lambda: store.read(1, 4)).startswith(f"{path}: rows 1 to 4 cannot be read (")
    for name, what in (("zarr.json", "zarr.json"), ("activations/zarr.json", "activations")):
        described = (path / name).read_text()
        (path / name).write_text("{" * len(described))
        assert told(lambda: open_store(path)).startswith(f"{path}: {what} cannot be read (")
        (path / name).write_text(described)
    shard.write_bytes(whole[:-1])
    assert told(lambda: open_store(path)) == f"{path}: activations/c/0/0 is cut. {MEND}"
    shard.unlink()
    assert told(store.verify) == f"{path}: activations/c/0/0 is missing. {MEND}"
    for listed in ("[]", '{"files": {"zarr.json": {"bytes": 1}}}'):
        (path / "manifest.json").write_text(listed)
        assert told(lambda: open_store(path)) == f"{path}: manifest.json does not list files. {MEND}"
    assert capsys.readouterr().err == ""


def test_a_file_that_a_desktop_left_is_named_and_is_no_damage(tmp_path, capsys):
    path = small_store(tmp_path / "a.zarr", 5)
    (path / "roles/.DS_Store").touch()
    open_store(path).verify()
    assert capsys.readouterr().err == (
        f"{path}: roles/.DS_Store is foreign to the store: nothing reads it, and it may be deleted\n"
    )


@pytest.mark.parametrize("error", [MemoryError(), PermissionError()])
def test_what_is_no_damage_is_not_called_so(error, tmp_path):
    store = open_store(small_store(tmp_path / "a.zarr", 5))

    class Failing:
        def __getitem__(self, rows):
            raise error

    store._values = Failing()
    with pytest.raises(type(error)):
        store.read(0, 1)


FULL = (
    "Remedy: free space or choose another folder (ACTIVATIONS_DIR), and run the same command again; "
    "finished shards are kept."
)


def test_a_disk_that_cannot_be_written_is_told_in_one_line_whatever_is_written(tmp_path, monkeypatch):
    def fail(*_args):
        raise OSError(5, "simulated")

    path = tmp_path / "a.zarr"
    line = f"{path}.partial: cannot write ([Errno 5] simulated). {FULL}"
    writer = StoreWriter(path, layout())
    for name, act in (
        ("write_shard", lambda: writer.write(0, shard_of(layout(), 0))),
        ("write_json", lambda: written(path, layout(), 0).finish()),
        ("_create", lambda: StoreWriter(path, layout(layer=4))),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(writing, name, fail)
            assert told(act) == line


def test_a_full_disk_is_called_so(tmp_path, monkeypatch):
    def fail(*_args):
        raise OSError(28, "simulated")

    monkeypatch.setattr(writing, "_create", fail)
    assert told(lambda: StoreWriter(tmp_path / "a.zarr", layout())) == (
        f"{tmp_path}/a.zarr.partial: the disk is full. {FULL}"
    )
