"""DVC in a warm python reads and writes less often; what it writes and refuses is the same."""

import shutil
from functools import partial
from pathlib import Path

import pytest
from diskcache.core import DEFAULT_SETTINGS
from dvc.dependency import param
from dvc.dvcfile import Lockfile
from dvc.fs import localfs
from dvc.parsing import interpolate
from dvc.utils import strictyaml
from dvc.utils.serialize import _yaml
from quick_dvc import kept, quicken_dvc

ROOT = Path(__file__).parents[2]


@pytest.fixture
def quicken(monkeypatch, tmp_path):
    """What makes DVC quick, for one test."""
    changed = {
        _yaml: ("parse_yaml", "_dump"),
        strictyaml: ("parse_yaml", "validate"),
        interpolate: ("parse_expr",),
        param: ("dpath",),
    }
    for module, names in changed.items():
        for name in names:
            monkeypatch.setattr(module, name, getattr(module, name))
    monkeypatch.setitem(DEFAULT_SETTINGS, "sqlite_synchronous", DEFAULT_SETTINGS["sqlite_synchronous"])
    return partial(quicken_dvc, tmp_path)


def test_it_writes_a_lock_as_ever(tmp_path, quicken):
    written = []
    for how in ("slow", "quick"):
        lock = tmp_path / how / "dvc.lock"
        lock.parent.mkdir()
        shutil.copy(ROOT / "experiments/dvc.lock", lock)
        for size in (7, 8):
            with _yaml.modify_yaml(lock) as content:
                content["stages"]["cascade"]["deps"][0]["size"] = size
                values = {"none": None, 1: "yes", "1": True, "": [1.0, "1.0", []]}
                content["stages"]["new"] = {"cmd": f"a command of many words {'word ' * 20}", "params": values}
            written.append((lock.read_bytes(), repr(_yaml.load_yaml(lock))))
        if how == "slow":
            quicken()
    assert written[:2] == written[2:]
    assert written[0][0] != written[1][0]


def test_it_reads_a_file_that_has_changed_and_gives_nobody_what_another_may_change(tmp_path, quicken):
    quicken()
    path = tmp_path / "params.yaml"
    path.write_text("a: [1]  # one\n")
    _yaml.load_yaml(path)["a"].append(2)
    assert _yaml.load_yaml(path) == {"a": [1]}
    with _yaml.modify_yaml(path) as content:
        content["a"].append(3)
    assert path.read_text() == "a: [1, 3] # one\n"
    assert _yaml.load_yaml(path) == {"a": [1, 3]}


def test_it_refuses_a_damaged_lock_each_time(tmp_path, quicken):
    quicken()
    lock = tmp_path / "dvc.lock"
    lock.write_text("schema: '2.0'\nstages: {}\n")
    strictyaml.load(str(lock), Lockfile.SCHEMA)
    for content in ("schema: '2.0'\nstages: [1]\n", "schema: '2.0'\nstages: [1\n") * 2:
        lock.write_text(content)
        with pytest.raises((strictyaml.YAMLSyntaxError, strictyaml.YAMLValidationError)):
            strictyaml.load(str(lock), Lockfile.SCHEMA)


def test_it_finds_a_parameter_as_ever(tmp_path, quicken):
    path = tmp_path / "params.yaml"
    path.write_text("a: {b: {c: null, 1: one}, 'x y': [1]}\nd: 0\n")
    keys = ["a.b", "a.b.c", "a.b.1", "a.*.c", "a.x y.0", "d", "d.e", "e", "a..b", ""]
    slow = param.read_param_file(localfs, str(path), keys, flatten=True)
    quicken()
    assert param.read_param_file(localfs, str(path), keys, flatten=True) == slow
    assert {"a.b", "a.b.c", "a.*.c", "d"} <= set(slow)


def test_what_one_process_made_is_found_by_the_others_and_not_taken_for_anything_else(tmp_path):
    asked = [("yaml", "a: 1"), ("yaml", "a: 2"), ("lines", "a: 1"), ("yaml", "a: 1")]
    made = [kept(tmp_path, *one, lambda number=number: b"%d" % number) for number, one in enumerate(asked)]
    assert made == [b"0", b"1", b"2", b"0"]
    assert len(list(tmp_path.iterdir())) == 3, "nothing half written is left"
