"""DVC in a warm python reads less often; what it writes and refuses is the same."""

import shutil
from functools import partial
from pathlib import Path

import pytest
import warm_python
from dvc.dvcfile import Lockfile
from dvc.utils import strictyaml
from dvc.utils.serialize import _yaml

ROOT = Path(__file__).parents[2]


@pytest.fixture
def quicken(monkeypatch, tmp_path):
    """What makes DVC quick, for one test."""
    for module, name in ((_yaml, "parse_yaml"), (strictyaml, "parse_yaml"), (strictyaml, "validate")):
        monkeypatch.setattr(module, name, getattr(module, name))
    return partial(warm_python.quicken_dvc, tmp_path)


def test_it_writes_a_lock_as_ever(tmp_path, quicken):
    written = []
    for how in ("slow", "quick"):
        lock = tmp_path / how / "dvc.lock"
        lock.parent.mkdir()
        shutil.copy(ROOT / "experiments/dvc.lock", lock)
        for size in (7, 8):
            with _yaml.modify_yaml(lock) as content:
                content["stages"]["cascade"]["deps"][0]["size"] = size
                content["stages"]["new"] = {"cmd": f"a command of many words {'word ' * 20}", "params": {"none": None}}
            written.append(lock.read_bytes())
        if how == "slow":
            quicken()
    assert written[:2] == written[2:]
    assert written[0] != written[1]


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
