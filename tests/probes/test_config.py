"""Hyper-parameters of the families."""

from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from models_under_pressure.probes import families
from models_under_pressure.probes.families import FAMILIES, ProbeConfig

ADAPTER = TypeAdapter(ProbeConfig)


def test_every_file_of_the_folder_is_a_family_and_nothing_else_lists_them():
    files = {path.stem for path in Path(families.__file__).parent.glob("*.py")} - {"__init__"}
    assert set(FAMILIES) == files


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_chosen_by_its_name(name):
    found = ADAPTER.validate_python({"family": name})
    assert type(found) is FAMILIES[name].config
    assert found.family == name


@pytest.mark.parametrize("name", FAMILIES)
def test_every_hyper_parameter_but_the_families_own_is_documented(name):
    import ast

    path = Path(families.__file__).parent
    for source in [path / f"{name}.py", path.parent / "family.py"]:
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.ClassDef) and node.name.endswith("Config"):
                assert ast.get_docstring(node), (source, node.name)


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({"family": "attentive"}, "attentive"),
        ({"family": "softmax", "temprature": 5}, "temprature"),
        ({"family": "softmax", "temperature": 0}, "greater than 0"),
        ({"family": "mean", "tokens": []}, "at least 1"),
        ({"family": "mean", "tokens": ["usr"]}, "user"),
        ({"family": "lda", "shrinkage": 2}, "shrinkage"),
        ({}, "family"),
    ],
)
def test_a_wrong_entry_is_refused_by_name(entry, problem):
    with pytest.raises(ValidationError, match=problem):
        ADAPTER.validate_python(entry)


def test_the_defaults_are_the_papers_but_for_the_descent_of_attention_and_softmax():
    softmax, attention, highest = (FAMILIES[name].config() for name in ("softmax", "attention", "max"))
    assert (highest.batch_size, highest.epochs, highest.patience, highest.learning_rate) == (16 * 4, 200, 50, 5e-3)
    for config in (softmax, attention, highest):
        assert config.weight_decay == 1e-3
    assert (softmax.temperature, softmax.final_learning_rate, attention.final_learning_rate) == (5.0, 1e-4, 5e-4)
    # Faster, and shown to be equal in docs/benchmarks.md.
    assert (attention.batch_size, attention.epochs, attention.patience, attention.learning_rate) == (32, 20, 5, 1e-2)
    assert (softmax.batch_size, softmax.epochs, softmax.patience, softmax.learning_rate) == (32, 20, 3, 1e-2)
    assert FAMILIES["rolling_mean_max"].config().window == 40
    assert FAMILIES["mean_logistic"].config().inverse_regularisation == 1e-3
    assert FAMILIES["mean_logistic"].config().fit_intercept is False


def test_params_yaml_spells_out_what_the_families_have_as_defaults():
    from models_under_pressure.core.section import read
    from models_under_pressure.probes.families import TrainConfig

    probes = read("train", TrainConfig, Path(__file__).parents[2] / "params.yaml").probes
    for name, family in (("mean", "mean_logistic"), ("attention", "attention")):
        assert probes[name] == FAMILIES[family].config()
