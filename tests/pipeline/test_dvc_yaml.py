"""dvc.yaml names everything that makes a result: a forgotten dependency is a result that silently stays old."""

import ast
import functools
import importlib.util
import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("closure", Path(__file__).with_name("closure.py"))
closure = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(closure)

FILES = {"": "dvc.yaml", "experiments": "experiments/dvc.yaml", "published": "published/dvc.yaml"}
PIPELINES = {folder: YAML(typ="safe").load((ROOT / file).read_text())["stages"] for folder, file in FILES.items()}
STAGES = {
    f"{folder}:{name}" if folder else name: (folder, stage)
    for folder, stages in PIPELINES.items()
    for name, stage in stages.items()
}
PACKAGE = Path("src/models_under_pressure")


def body(stage):
    _, content = STAGES[stage]
    return content.get("do", content)


def module_of(stage):
    """The module behind the sub-command, the word after `${mup}`."""
    name = re.match(r"\$\{mup\} (\w+)", body(stage)["cmd"])[1]
    return next(
        f"models_under_pressure.{room}.{name}"
        for room in ("stages", "experiments")
        if (ROOT / PACKAGE / room / f"{name}.py").exists()
    )


def code_deps(stage):
    deps = (dep.replace("${src}", str(PACKAGE)) for dep in body(stage)["deps"])
    return [Path(dep) for dep in deps if dep.startswith("src/") and "/concepts/" not in dep]


def declared_params(stage):
    """(file, first part of the name) of every parameter that the stage depends on."""
    found = set()
    for entry in body(stage).get("params", []):
        named = entry if isinstance(entry, dict) else {"params.yaml": [entry]}
        found |= {(file, re.split(r"[.$]", key)[0]) for file, keys in named.items() for key in keys}
    return found


@functools.cache
def calls(path):
    """Calls of functions by their bare name in a file."""
    nodes = ast.walk(ast.parse((ROOT / path).read_text()))
    return [node for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]


def read_params(stage):
    """(file, section) of every `read("section", …)` in the modules of stages and experiments that the stage runs."""
    constants = {"EXPERIMENTS": "experiments/params.yaml", "LINEAGE_PATH": "data/versions.yaml"}
    found = set()
    for path in closure.import_closure(module_of(stage)):
        if path.parts[2] not in ("stages", "experiments"):
            continue
        for node in calls(path):
            if node.func.id == "model_aliases":
                found.add(("params.yaml", "models"))
            if node.func.id == "read" and len(node.args) > 1:
                assert isinstance(node.args[0], ast.Constant), f"{path}: name the section with a literal"
                others = [ast.unparse(argument) for argument in [*node.args[2:], *(k.value for k in node.keywords)]]
                file = next((constants[other] for other in others if other in constants), "params.yaml")
                found.add((file, node.args[0].value))
    return found


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_says_what_it_is_for(stage):
    assert body(stage)["desc"]


@pytest.mark.parametrize("stage", STAGES)
def test_deps_name_every_module_that_the_stage_can_import(stage):
    deps = code_deps(stage)
    files = closure.import_closure(module_of(stage))
    missing = {str(file) for file in files if not any(file == dep or dep in file.parents for dep in deps)}
    assert not missing, f"add to deps of {stage}: {sorted(missing)}"


@pytest.mark.parametrize("stage", STAGES)
def test_deps_name_no_code_that_the_stage_does_not_use(stage):
    files = closure.import_closure(module_of(stage))
    for dep in code_deps(stage):
        assert (ROOT / dep).exists(), f"{stage}: {dep} does not exist"
        is_prompts = dep.name in ("prompts", "templates")
        assert is_prompts or any(file == dep or dep in file.parents for file in files), f"{stage} does not use {dep}"


@pytest.mark.parametrize("stage", STAGES)
def test_params_name_every_section_that_the_stage_reads(stage):
    missing = read_params(stage) - declared_params(stage)
    missing = {(file, section) for file, section in missing if file not in body(stage)["deps"]}
    assert not missing, f"add to params of {stage}: {sorted(missing)}"


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_that_knows_the_words_of_the_classes_depends_on_the_concept(stage):
    rooms = ("stages", "experiments")
    files = [path for path in closure.import_closure(module_of(stage)) if path.parts[2] in rooms]
    if any(word in (ROOT / file).read_text() for file in files for word in (".classes", "chosen_concept(")):
        file = "${src}/concepts/${concept}.yaml"
        assert file in body(stage)["deps"] or (file, "classes") in declared_params(stage)
        assert "params.yaml" in body(stage)["deps"] or ("params.yaml", "concept") in declared_params(stage)


@pytest.mark.parametrize("stage", STAGES)
def test_data_outputs_say_which_remote_they_belong_to(stage):
    for out in body(stage).get("outs", []):
        (options,) = out.values()
        assert options.get("cache") is False or options["remote"] in ("datasets", "activations")


@pytest.mark.parametrize("folder", ["", "experiments"])
def test_no_dependency_names_a_dataset(folder):
    """Datasets are folders, so that a new one is an entry of YAML and no line of a graph."""
    versions = YAML(typ="safe").load((ROOT / "data/versions.yaml").read_text())
    names = {name for purpose in versions["datasets"].values() for name in purpose} - {"train", "validation"}
    text = (ROOT / FILES[folder]).read_text()
    assert not [name for name in [*names, *versions["versions"]] if name in text]


def test_nothing_of_the_root_pipeline_depends_on_an_experiment():
    made = {
        next(iter(out)) if isinstance(out, dict) else out
        for stage in PIPELINES["experiments"].values()
        for kind in ("outs", "metrics", "plots")
        for out in stage.get("do", stage).get(kind, [])
    }
    for stage in PIPELINES[""]:
        for dep in body(stage)["deps"]:
            assert not [out for out in made if out == dep or out.startswith(f"{dep}/")], f"{stage} depends on {dep}"


@pytest.mark.slow
def test_the_locks_hold_the_stages_that_exist_and_no_others():
    from dvc.repo import Repo

    with Repo(str(ROOT)) as repo:
        stages = [(Path(stage.path).parent, stage.name) for stage in repo.index.stages]
    for folder in (ROOT, ROOT / "experiments"):
        lock = YAML(typ="safe").load((folder / "dvc.lock").read_text())
        assert set(lock["stages"]) == {name for parent, name in stages if parent == folder}


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("params.yaml", "seed"),
        ("experiments/params.yaml", "cascade.merge"),
        ("data/versions.yaml", "sources.mt.test_fraction"),
    ],
)
def test_an_override_leaves_a_params_file_as_it_is(name, key, tmp_path):
    from dvc.utils.hydra import apply_overrides

    path = tmp_path / "file.yaml"
    path.write_bytes((ROOT / name).read_bytes())
    value = YAML(typ="safe").load(path)
    for part in key.split("."):
        value = value[part]
    apply_overrides(path, [f"{key}={value}"])
    assert path.read_text() == (ROOT / name).read_text()


def test_several_layers_come_and_go_by_overrides_and_the_file_stays_yaml(tmp_path):
    from dvc.utils.hydra import apply_overrides

    path = tmp_path / "params.yaml"
    path.write_bytes((ROOT / "params.yaml").read_bytes())
    before = YAML(typ="safe").load(path)
    for layers in ([11, 21], [], [16], [], None, [11, 16, 21], []):
        apply_overrides(path, [f"probe.layers={'null' if layers is None else layers}"])
        found = YAML(typ="safe").load(path)
        assert found == before | {"probe": before["probe"] | {"layers": layers}}


@pytest.mark.parametrize(
    ("file", "most"),
    [
        ("dvc.yaml", 420),
        ("experiments/dvc.yaml", 390),
        ("dvc.lock", 3000),
        ("experiments/dvc.lock", 1700),
        ("params.yaml", 180),
    ],
)
def test_a_person_can_still_read_it(file, most):
    """DVC reads and writes these files again at every stage, too: their length is its time."""
    assert len((ROOT / file).read_text().splitlines()) <= most
