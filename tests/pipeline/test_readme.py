"""The README's first screen and its links."""

import re
from pathlib import Path

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")


def test_the_first_screen_shows_the_two_commands():
    first = README.split("## ")[0]
    assert "pip install uv\nuv run dvc repro" in first
    assert "uv run pytest" in first


def test_every_path_that_the_readme_names_exists():
    root = Path(__file__).parents[2]
    for name in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (root / name).exists(), name
