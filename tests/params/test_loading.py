from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.yaml import load_yaml


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
    rate: float = 0.1
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
