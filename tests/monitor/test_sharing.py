"""Listing probes, and sharing them by way of the Hub."""

import json

import pytest
from typer.testing import CliRunner

from models_under_pressure.cli import app
from models_under_pressure.core.errors import UserError
from models_under_pressure.probes.probe import load_probe, save_probe


def mup(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.fixture
def project(probe, tmp_path, monkeypatch):
    for seed in ("seed_7", "seed_10"):
        save_probe(probe, tmp_path / "data/probes/mine" / seed)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_an_exported_probe_scores_as_the_original(project, tmp_path):
    assert mup("probes", "export", "mine", "shared").exit_code == 0
    assert sorted(path.name for path in (tmp_path / "shared").iterdir()) == [
        "README.md",
        "probe.json",
        "weights.safetensors",
    ]
    (tmp_path / "in.jsonl").write_text('{"inputs": "fire"}\n')
    rows = [mup("score", "--probe", name, "in.jsonl").output for name in ("mine", "shared")]
    assert rows[0] == rows[1]
    assert json.loads(rows[0])["ids"] == "0"


def test_the_card_with_what_was_measured_goes_along_unless_it_is_of_another_probe(project, tmp_path):
    readme = (tmp_path / "data/probes/mine/seed_7/README.md").read_text()
    card = tmp_path / "data/results/cards/mine.md"
    card.parent.mkdir(parents=True)
    for number, text in enumerate([readme + "\n## Measured\n", "of another probe\n## Measured\n"]):
        card.write_text(text)
        mup("probes", "export", "mine", f"shared_{number}")
        shared = (tmp_path / f"shared_{number}/README.md").read_text()
        assert ("## Measured" in shared) is (number == 0)


def test_the_hubs_own_library_reads_the_card(project, tmp_path):
    from huggingface_hub import ModelCard

    mup("probes", "export", "mine", "shared")
    card = ModelCard.load(tmp_path / "shared/README.md")
    assert card.data.library_name == "models-under-pressure"
    assert "activation-probe" in card.data.tags
    probe = load_probe(tmp_path / "shared")
    assert f"{probe.metrics['validation_auroc']:.4g}" in card.text


def test_the_first_seed_is_the_one_with_the_lowest_number(project):
    from models_under_pressure.tools.score import find_probe

    assert find_probe("mine").name == "seed_7"
    assert find_probe("mine/seed_10").name == "seed_10"


def test_a_folder_with_something_in_it_is_not_written_to(project, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/precious").write_text("x")
    assert isinstance(mup("probes", "export", "mine", "full").exception, UserError)
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["precious"]


def test_the_list_names_every_probe_with_its_family_layer_and_auroc(project, probe):
    lines = mup("probes", "list").output.splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["mine/seed_10", "mine/seed_7"]
    assert f"{probe.metrics['validation_auroc']:.4f}" in lines[1]


def test_help_of_the_commands_needs_no_heavy_import():
    import subprocess
    import sys

    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom models_under_pressure.cli import app\n"
        "for name in (['score'], ['explain'], ['probes', 'export']): CliRunner().invoke(app, [*name, '--help'])\n"
        "print([name for name in ('torch', 'transformers', 'sklearn', 'numpy') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
