"""dvc.yaml names everything that makes a result: a forgotten dependency is a result that silently stays old."""

import ast
import importlib.util
import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("closure", Path(__file__).with_name("closure.py"))
closure = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(closure)

STAGES = {
    name: stage
    for file in ("dvc.yaml", "published/dvc.yaml")
    for name, stage in YAML(typ="safe").load((ROOT / file).read_text())["stages"].items()
}
COMMANDS = ROOT / "src/models_under_pressure/commands"


def body(stage):
    return STAGES[stage].get("do", STAGES[stage])


def module_of(stage):
    """The sub-command of a stage is the word after `${mup}`."""
    return re.match(r"\$\{mup\} (\w+)", body(stage)["cmd"])[1]


def params_of(stage):
    names = set()
    for entry in body(stage).get("params", []):
        if isinstance(entry, dict):
            names |= {f"lineage.{re.split(r'[.$]', key)[0]}" for keys in entry.values() for key in keys}
        else:
            names.add(entry.split(".")[0])
    return names


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_says_what_it_is_for(stage):
    assert body(stage)["desc"]


@pytest.mark.parametrize("stage", STAGES)
def test_deps_name_every_module_that_the_stage_can_import(stage):
    deps = [Path(dep) for dep in body(stage)["deps"] if dep.startswith("src/")]
    files = closure.import_closure(f"models_under_pressure.stages.{module_of(stage)}")
    missing = {str(file) for file in files if not any(file == dep or dep in file.parents for dep in deps)}
    assert not missing, f"add to deps of {stage}: {sorted(missing)}"


@pytest.mark.parametrize("stage", STAGES)
def test_deps_name_no_code_that_the_stage_does_not_use(stage):
    files = closure.import_closure(f"models_under_pressure.stages.{module_of(stage)}")
    for dep in (Path(dep) for dep in body(stage)["deps"] if dep.startswith("src/")):
        assert (ROOT / dep).exists(), f"{stage}: {dep} does not exist"
        is_prompts = dep.name in ("prompts", "templates")
        assert is_prompts or any(file == dep or dep in file.parents for file in files), f"{stage} does not use {dep}"


def functions_of(file):
    tree = ast.parse(file.read_text())
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


def used_params(command):
    """Sections of params.yaml and data/versions.yaml that the sub-command reads, from its source."""
    shared = functions_of(COMMANDS / "stage_inputs.py")
    files = [functions_of(file) for file in (*sorted(COMMANDS.glob("*_stages.py")), COMMANDS / "experiments.py")]
    functions = shared | next(functions for functions in files if command in functions)
    used, queue, seen = set(), [command], set()
    while queue:
        name = queue.pop()
        if name in seen:
            continue
        seen.add(name)
        for node in ast.walk(functions[name]):
            if isinstance(node, ast.Attribute):
                owner = ast.unparse(node.value)
                if owner in ("params", "read_params()"):
                    used.add(node.attr)
                elif owner in ("lineage", "read_lineage()"):
                    used.add(f"lineage.{node.attr}")
            if isinstance(node, ast.Name) and node.id in functions:
                queue.append(node.id)
    for name, sections in {"resolved_model": {"model", "models"}, "finetuned": {"finetune_baseline", "models"}}.items():
        if name in used:
            used = used - {name} | sections
    return used


@pytest.mark.parametrize("stage", STAGES)
def test_params_name_every_section_that_the_stage_reads(stage):
    used = used_params(module_of(stage))
    declared = params_of(stage)
    # the path of a dataset and the splits of a version are part of the stage's deps and outs
    implied = {
        "lineage.datasets",
        "lineage.versions",
        "lineage.test_versions",
        "lineage.sources",
        "lineage.test_sources",
    }
    text = str(body(stage))
    if "${model.name}" in text:
        implied.add("model")
    assert used - declared <= implied, f"add to params of {stage}: {sorted(used - declared - implied)}"


@pytest.mark.parametrize("stage", ["check_overlap", "describe", "extract"])
def test_a_stage_that_reads_every_dataset_in_use_depends_on_each(stage):
    datasets = YAML(typ="safe").load((ROOT / "data/versions.yaml").read_text())["datasets"]
    named = {dep for dep in body(stage)["deps"] if dep.startswith("${datasets.")}
    assert named == {f"${{datasets.{name}.path}}" for name in datasets}


SCORING = {name for name in STAGES if name.endswith("_baseline")} - {"finetune_baseline"} | {"score_finetuned"}
"""Stages of baselines that write scores; a finetuned model is trained by a stage of its own."""


@pytest.mark.parametrize("stage", sorted(SCORING))
def test_a_baseline_reads_and_scores_every_dev_and_test_set(stage):
    datasets = YAML(typ="safe").load((ROOT / "data/versions.yaml").read_text())["datasets"]
    scored = {name for name, dataset in datasets.items() if dataset["purpose"] in ("dev", "test")}
    read = {dep for dep in body(stage)["deps"] if dep.startswith("${datasets.")} - {"${datasets.train.path}"}
    assert read - {"${datasets.validation.path}"} == {f"${{datasets.{name}.path}}" for name in scored}
    written = [Path(path) for out in body(stage)["outs"] for path in out]
    assert {path.parts[3] for path in written if path.parts[2] == "scores"} == scored


@pytest.mark.parametrize(
    ("stage", "purposes"),
    [
        ("compare_probes", ("train", "validation", "dev", "test")),
        ("measure_data_efficiency", ("train", "validation", "dev")),
        ("measure_finetuning", ("train", "validation", "dev")),
        ("measure_generalisation", ("train", "validation")),
        ("choose_layer", ("train",)),
        ("measure_calibration", ("validation", "dev", "test")),
        ("compare_templates", ("dev",)),
    ],
)
def test_an_experiment_depends_on_every_dataset_that_it_reads(stage, purposes):
    datasets = YAML(typ="safe").load((ROOT / "data/versions.yaml").read_text())["datasets"]
    used = [name for name, dataset in datasets.items() if dataset["purpose"] in purposes]
    deps = [dep for dep in body(stage)["deps"] if "datasets." in dep or "/layer_$" in dep]
    stores = [f"data/activations/${{model.name}}/{name}/layer_${{probe.layer}}.zarr" for name in used]
    expected = [f"${{datasets.{name}.path}}" for name in used]
    reads_stores = stage not in ("choose_layer", "measure_calibration", "compare_templates", "measure_finetuning")
    assert set(deps) == {*expected, *(stores if reads_stores else [])}


def test_extract_has_a_store_for_every_dataset_in_use():
    datasets = YAML(typ="safe").load((ROOT / "data/versions.yaml").read_text())["datasets"]
    stores = [path for out in body("extract")["outs"] for path in out]
    assert stores == [f"data/activations/${{model.name}}/{name}/layer_${{probe.layer}}.zarr" for name in datasets]


@pytest.mark.parametrize("stage", STAGES)
def test_data_outputs_say_which_remote_they_belong_to(stage):
    for out in body(stage).get("outs", []):
        (options,) = out.values()
        assert options.get("cache") is False or options["remote"] in ("datasets", "activations")


@pytest.mark.parametrize("name", ["params.yaml", "data/versions.yaml"])
def test_an_override_leaves_a_params_file_as_it_is(name, tmp_path):
    from dvc.utils.hydra import apply_overrides

    path = tmp_path / "file.yaml"
    path.write_bytes((ROOT / name).read_bytes())
    key = {"params.yaml": "seed", "data/versions.yaml": "sources.mt.test_fraction"}[name]
    value = YAML(typ="safe").load(path)
    for part in key.split("."):
        value = value[part]
    apply_overrides(path, [f"{key}={value}"])
    assert path.read_text() == (ROOT / name).read_text()
