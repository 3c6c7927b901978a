from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field
from typer.testing import CliRunner

from models_under_pressure.activations.config import PipelineModel
from models_under_pressure.cli import app
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.section import check_names, load_plain, load_yaml, read, runs_code_of, section_names


class Cat(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: Literal["dog"]
    tricks: list[str] = []


class Home(BaseModel):
    model_config = ConfigDict(extra="forbid")
    rooms: int = Field(ge=1)
    rate: float = Field(default=0.1, allow_inf_nan=False)
    pets: dict[str, Annotated[Cat | Dog, Field(discriminator="kind")]] = {}


def load(tmp_path, text):
    path = tmp_path / "home.yaml"
    path.write_text(text)
    return load_yaml(path, Home)


def test_yaml_is_read_as_dvc_reads_it(tmp_path):
    assert load(tmp_path, "rooms: 010\nrate: 1e-3\n").model_dump(exclude={"pets"}) == {"rooms": 10, "rate": 0.001}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rooms: 2\nroms: 3\n", r":2: `roms`: unknown key; allowed: pets, rate, rooms"),
        ("rooms: two\n", r":1: `rooms`: .*integer.*not 'two'"),
        ("# none\nrooms: 0\n", r":2: `rooms`: .*greater than or equal to 1, not 0"),
        ("rate: 1\n", r":1: `rooms`: Field required"),
        (
            "rooms: 1\npets:\n  tom:\n    kind: cat\n    lives: 9\n    tricks: []\n",
            r":6: `pets.tom.tricks`: unknown key; allowed: kind, lives",
        ),
        ("rooms: 1\npets:\n  rex:\n    kind: cow\n", r":3: `pets.rex`: .*'cat', 'dog'"),
        ("rooms: [\n", "not YAML"),
    ],
)
def test_a_bad_key_is_named_with_its_line_and_the_allowed_ones(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        load(tmp_path, text)


def test_every_problem_is_listed_at_once(tmp_path):
    with pytest.raises(UserError) as caught:
        load(tmp_path, "rooms: 0\nroms: 3\n")
    assert "`rooms`" in str(caught.value)
    assert "`roms`" in str(caught.value)


def test_a_missing_file_says_where_to_run(tmp_path):
    with pytest.raises(UserError, match="run from the project's folder"):
        load_yaml(tmp_path / "none.yaml", Home)


PARAMS = """\
seed: 42
model:
  name: smollm2-135m
models:
  tiny: org/tiny
relabel: 3   # wrong, but of another stage
"""


@pytest.fixture
def params(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(PARAMS)
    return path


def test_a_stage_reads_its_own_section_whatever_the_others_hold(params):
    assert read("seed", int, params) == 42
    assert read("models", dict[str, str], params) == {"tiny": "org/tiny"}
    assert read("model", PipelineModel, params).name == "smollm2-135m"


def test_an_unknown_section_is_named_with_its_line_and_the_known_ones(params):
    params.write_text(PARAMS + "rellabel: {}\n")
    with pytest.raises(UserError, match=r"params\.yaml:7: `rellabel`: unknown key; allowed: .*relabel.*") as caught:
        read("seed", int, params)
    assert "train" in str(caught.value)


def test_a_section_that_is_missing_is_named(params):
    with pytest.raises(UserError, match="`train`: this section is missing"):
        read("train", dict[str, int], params)


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        (
            "model",
            "  name: smollm2-135m",
            "  nam: x",
            r":3: `model\.nam`: unknown key; allowed: adapter, .*trust_remote_code",
        ),
        ("model", "  name: smollm2-135m", "  name: /models/mine", r":2: `model`: model\.name is part of output paths"),
        ("model", "  name: smollm2-135m", "  name: ../mine", r":2: `model`: model\.name is part of output paths"),
        ("model", "  name: smollm2-135m", "  dtype: float16", r":3: `model\.dtype`: .*'auto'"),
        ("seed", "seed: 42", "seed: many", r":1: `seed`: .*integer.*not 'many'"),
    ],
)
def test_a_wrong_value_of_the_section_is_named_with_its_line(params, name, old, new, message):
    params.write_text(PARAMS.replace(old, new))
    schema = PipelineModel if name == "model" else int
    with pytest.raises(UserError, match=message):
        read(name, schema, params)


def test_a_file_of_experiments_has_the_sections_of_experiments(tmp_path):
    path = tmp_path / "experiments/params.yaml"
    path.parent.mkdir()
    path.write_text("seed: 42\n")
    with pytest.raises(UserError, match=r"experiments/params\.yaml:1: `seed`: unknown key; allowed: .*compare_probes"):
        read("seed", int, path)


def test_every_section_of_the_projects_params_belongs_to_a_stage():
    root = Path(__file__).parents[2]
    for file in (root / "params.yaml", root / "experiments/params.yaml"):
        if file.exists():
            assert set(load_plain(file)) <= section_names(file)


@pytest.mark.parametrize("name", ["my mean", "a;b", "$(id)", "../up", "-r", ".hidden", "a/b", "a\\nb", ""])
@pytest.mark.parametrize("place", ["train.probes", "finetune_baseline.models", "cascade.pairs"])
def test_a_name_of_two_words_is_refused_where_it_stands(name, place, tmp_path):
    section, group = place.split(".")
    path = tmp_path / "params.yaml"
    path.write_text(f'seed: 1\n{section}:\n  {group}:\n    good-1.b+c: {{}}\n    "{name}": {{}}\n')
    with pytest.raises(UserError, match=rf"params\.yaml:5: `{section}\.{group}`: .* is no name"):
        check_names(path)


def test_a_stage_says_so_before_it_counts_its_arguments(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("train:\n  probes:\n    my mean: {family: mean}\n")
    result = CliRunner().invoke(app, ["train", "my", "mean"])
    assert isinstance(result.exception, UserError)
    assert "'my mean' is no name" in str(result.exception)


def test_the_names_of_the_project_are_names():
    for file in (Path(__file__).parents[2] / "params.yaml", Path(__file__).parents[2] / "experiments/params.yaml"):
        check_names(file)


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "its aliases .* unfold without end"),
        ("rooms: &me [*me]\n", "its aliases .* unfold without end"),
        ("rooms: " + "[" * 50_000, "not YAML"),
        ("{" * 50_000, "not YAML"),
        ("rooms: " + "9" * 5000, r"not YAML \(Exceeds the limit"),
        ("rooms: !!python/object/apply:os.system [id]\n", "not YAML .*constructor"),
        ("rooms: *nobody\n", "not YAML .*undefined alias"),
        ("rooms: \x00", "not YAML"),
        ("rooms: .nan\nrate: .inf", "finite number"),
    ],
    ids=["bomb", "self", "lists", "maps", "digits", "python", "nobody", "nul", "nan"],
)
def test_yaml_that_expands_or_would_run_is_one_line(tmp_path, text, message):
    with pytest.raises(UserError, match=message) as caught:
        load(tmp_path, text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 2000


def test_a_model_has_a_switch_for_its_own_code_and_it_counts_for_that_model_only(params):
    assert not read("model", PipelineModel, params).trust_remote_code
    assert not runs_code_of("org/tiny", params)
    params.write_text(PARAMS.replace("  name: smollm2-135m", "  name: tiny\n  trust_remote_code: true"))
    assert read("model", PipelineModel, params).resolved({"tiny": "org/tiny"}).trust_remote_code
    assert runs_code_of("org/tiny", params)
    assert not runs_code_of("org/other", params)
    assert not runs_code_of("org/tiny", params.with_name("none.yaml"))
