"""`probe.layers` in a real DVC repository: the stages `extract` and `train` as dvc.yaml has them, and a tiny model."""

import importlib.util
import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("pipeline_conftest", Path(__file__).with_name("conftest.py"))
conftest = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(conftest)

LISTS = {"train": 24, "validation": 12}


def write_dataset(path, records):
    path.parent.mkdir(parents=True)
    rows = [
        {
            "ids": f"{path.stem}-{number}",
            "inputs": f"{'fire, help' if number % 2 else 'cake, song'} {number}",
            "labels": "high-stakes" if number % 2 else "low-stakes",
        }
        for number in range(records)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def two_stages(tmp, path):
    """A repository with two datasets and two stages of the project's own dvc.yaml."""
    folder = tmp / "project"
    folder.mkdir()
    conftest.save_tiny_model(tmp / "model")
    (folder / "src").symlink_to(ROOT / "src")
    for purpose, records in LISTS.items():
        write_dataset(folder / f"data/datasets/{purpose}/{purpose}.jsonl", records)
    no_control = folder / "data/datasets/control/none.txt"
    no_control.parent.mkdir()
    no_control.write_text("none")
    whole = YAML(typ="safe").load(ROOT / "dvc.yaml")
    stages = {name: whole["stages"][name] for name in ("extract", "train")}
    for stage in (stages["extract"], stages["train"]["do"]):
        stage["deps"] = [dep for dep in stage["deps"] if dep.startswith("data/")]
    variables = [one for one in whole["vars"] if isinstance(one, dict)]
    YAML().dump({"vars": variables, "stages": stages}, folder / "dvc.yaml")
    (folder / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    repository = conftest.Repository(folder, conftest.environment_of(tmp, path))

    def shrink(params):
        params["models"]["toy"] = str(tmp / "model")
        params["model"]["name"], params["probe"]["layer"] = "toy", 1
        del params["train"]["probes"]["attention"]

    repository.edit("params.yaml", shrink)
    repository.run("git", "init", "-q", "-b", "main")
    repository.dvc("init", "-q")
    (folder / ".dvc/config").write_text(
        "[core]\n    remote = datasets\n"
        + "".join(f"['remote \"{name}\"']\n    url = {tmp / name}\n" for name in ("datasets", "activations"))
    )
    repository.commit("start")
    return repository


def stores(repository):
    """Paths of the stores below the folder of the first layer."""
    folder = repository.path / "data/activations/toy/layer_1"
    return {str(path.relative_to(folder)) for path in folder.rglob("*.zarr")}


def origin(repository):
    path = repository.path / "data/probes/mean/seed_42/probe.json"
    return json.loads(path.read_text())["provenance"]


def test_several_layers_are_one_override_extracted_in_one_pass_and_going_back_costs_nothing(tmp_path, warm_path):
    repository = two_stages(tmp_path, warm_path)
    one = {f"{name}/{name}.zarr" for name in LISTS}
    repository.dvc("repro")
    repository.commit("one layer")
    assert (stores(repository), origin(repository)["layer"]) == (one, 1)
    both = repository.dvc("exp", "run", "-S", "probe.layers=[1,2]").stdout
    assert both.count("written ") == len(LISTS), "the first layer is on the shelf already"
    assert stores(repository) == one | {f"{name}/layer_2/{name}.zarr" for name in LISTS}
    assert origin(repository)["layers"] == [1, 2]
    back = repository.dvc("exp", "run", "-S", "probe.layers=[]").stdout
    assert (stores(repository), origin(repository)["layer"]) == (one, 1)
    again = repository.dvc("exp", "run", "-S", "probe.layers=[1,2]").stdout
    assert not repository.stages_run(back + again)
    assert origin(repository)["layers"] == [1, 2]
    other = repository.dvc("exp", "run", "-S", "probe.layers=[2]").stdout
    assert repository.stages_run(other) == {"extract", "train@mean"}
    assert "written " not in other
    assert (stores(repository), origin(repository)["layer"]) == ({f"{name}/layer_2/{name}.zarr" for name in LISTS}, 2)
