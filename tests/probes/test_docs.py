"""docs/probes.md names every family and every hyper-parameter."""

from pathlib import Path

import pytest

from models_under_pressure.probes.families import FAMILIES
from models_under_pressure.probes.probe import _Description

DOCS = (Path(__file__).parents[2] / "docs/probes.md").read_text()


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_has_a_row_and_its_settings_are_explained(name):
    assert f"\n| `{name}` |" in DOCS
    for setting in set(FAMILIES[name].config.model_fields) - {"family"}:
        assert f"`{setting}`" in DOCS


def test_every_key_of_the_file_is_explained():
    for key in _Description.model_fields:
        assert f"`{key}`" in DOCS
