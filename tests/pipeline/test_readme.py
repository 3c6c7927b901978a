"""The commands that the README shows are run as they stand there, on a model of three blocks instead of thirty."""

import re
import shlex
from pathlib import Path

import pytest

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```\w*\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
LAYERS = "'probe.layer=range(1,3)'"
COMMANDS = [
    line.split(" #")[0].strip()
    for block in BLOCKS
    for line in block.splitlines()
    if line.startswith("uv run ") and not line.startswith("uv run pytest")
]


def test_the_first_screen_shows_the_two_commands():
    first = README.split("## ")[0]
    assert "pip install uv\nuv run dvc repro" in first
    assert "uv run pytest" in first


def test_every_path_that_the_readme_names_exists():
    root = Path(__file__).parents[2]
    for name in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (root / name).exists(), name


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_readme_works(pipeline, command):
    (pipeline.path / "my_prompts.jsonl").write_text('{"ids": "a", "inputs": "May I take both pills?"}\n')
    small = command.replace("probe.layer=11", "probe.layer=2").replace("'probe.layer=range(8,24,4)'", LAYERS)
    small = small.replace("--model smollm2-135m --layer 11", "--model toy --layer 2")
    # test_pipeline.py runs what follows
    small = re.sub(r"^uv run dvc exp run [^&]*[^& ]", r"\g<0> train@mean", small)
    for part in small.split(" && "):
        words = shlex.split(part)
        words = words[2:] if words[:2] == ["uv", "run"] else words
        done = getattr(pipeline, {"dvc": "dvc", "mup": "mup"}[words[0]])(*words[1:], check=False)
        assert done.returncode == 0, f"{part}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    if "queue start" in command:  # remotes/test_git_flow.py waits for experiments of a queue
        pipeline.dvc("queue", "stop", "--kill")
