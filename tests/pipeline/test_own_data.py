"""The commands of docs/own-data.md are run as they stand there, on a model of three blocks instead of thirty."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs/own-data.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
COMMANDS = [line for language, block in BLOCKS if not language for line in block.splitlines()]


def test_every_path_that_the_page_names_exists():
    for name in re.findall(r"\]\(([^)#:]+)\)", PAGE):
        assert (Path(__file__).parents[2] / "docs" / name).exists(), name


def test_the_page_shows_what_the_command_says_of_the_table(tmp_path):
    from models_under_pressure.datasets.columns import Asked
    from models_under_pressure.datasets.importing import Spool
    from models_under_pressure.datasets.tables import Pinned, open_source, source_rows

    words = shlex.split(COMMANDS[0])
    opened = open_source(str(Path(__file__).parents[2] / words[5]), Pinned(), downloads=tmp_path)
    positive = tuple(words[place + 1] for place, word in enumerate(words) if word == "--positive")
    with Spool(tmp_path) as spool:
        report = spool.fill(source_rows(opened, unpacked=tmp_path), Asked(positive=positive), where="page")
    assert f"{report.rows} read, {report.records} kept" in PAGE
    assert f"high-stakes {report.labels['high-stakes']}, low-stakes {report.labels['low-stakes']}" in PAGE
    assert f"Its {report.records} usable rows" in PAGE


@pytest.mark.slow
def test_the_page_leads_from_a_table_to_a_report(finished, tmp_path):
    shutil.copytree(finished.path, tmp_path / "project", symlinks=True)
    project = type(finished)(tmp_path / "project", finished.environment)
    model = finished.run("sed", "-n", "s/^  toy: //p", "params.yaml").stdout.strip()
    for command in COMMANDS:
        words = shlex.split(command.removeprefix("uv run "))
        tiny = ["--model", model] if words[:2] == ["mup", "fit"] else []
        run = {"mup": project.mup, "dvc": project.dvc}.get(words[0])
        done = run(*words[1:], *tiny) if run else project.run(*words)
        if tiny:
            assert "tfidf_logistic" in done.stdout
            assert (project.path / "fitted/mean_logistic/probe.json").exists()
    page = (project.path / "plots/report.html").read_text()
    assert "low_mood_test" in page
    assert "mt_dev" not in page
    assert '"ids"' in done.stdout
    assert "low_mood_train.jsonl.dvc" in project.run("git", "ls-files").stdout
