import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from models_under_pressure.cli import HUB_VARIABLES, app
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.settings import Settings, load_settings
from models_under_pressure.remotes.target import load_bucket_settings

NAMES = {
    "OPENAI_API_KEY",
    "OPEN_ROUTER_API_KEY",
    "R2_ACCESS_KEY_ID",
    "R2_SECRET_ACCESS_KEY",
    "R2_DATASETS_BUCKET",
    "R2_ACTIVATIONS_BUCKET",
    "R2_ACCOUNT_ID",
    "ACTIVATIONS_DIR",
    "WANDB_API_KEY",
}


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch, tmp_path):
    for name in NAMES | {"OPENROUTER_API_KEY", *HUB_VARIABLES}:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def test_the_variables_are_those_of_env_example():
    example = (Path(__file__).parents[2] / ".env.example").read_text("utf-8")
    offered = {line.partition("=")[0] for line in example.splitlines() if line and line[0] != "#"}
    assert {name.upper() for name in Settings.model_fields} == NAMES == offered - set(HUB_VARIABLES)


def test_everything_may_be_absent_or_empty(monkeypatch):
    assert set(load_settings().model_dump().values()) == {None}
    for name in NAMES:
        monkeypatch.setenv(name, " ")
    assert set(load_settings().model_dump().values()) == {None}


def test_env_is_found_above_the_working_directory_and_the_environment_goes_before_it(monkeypatch, tmp_path):
    (tmp_path / ".env").write_text("OPENAI_API_KEY=from-file\nACTIVATIONS_DIR=/models\nUNKNOWN=1\n")
    below = tmp_path / ".dvc" / "tmp" / "exps"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    settings = load_settings()
    assert settings.openai_api_key.get_secret_value() == "from-file"
    assert str(settings.activations_dir) == "/models"
    monkeypatch.setenv("OPENAI_API_KEY", "from-environment")
    assert load_settings().openai_api_key.get_secret_value() == "from-environment"


@pytest.mark.parametrize("name", ["OPEN_ROUTER_API_KEY", "OPENROUTER_API_KEY"])
def test_both_spellings_of_openrouter_are_read(name, monkeypatch):
    monkeypatch.setenv(name, "k")
    assert load_settings().open_router_api_key.get_secret_value() == "k"


def test_secrets_do_not_show(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "hidden-1234")
    monkeypatch.setenv("R2_SECRET_ACCESS_KEY", "hidden-1234")
    assert "hidden" not in f"{load_settings()!r} {load_settings()} {load_settings().model_dump_json()}"


def test_a_command_takes_what_hugging_face_reads_from_env_into_the_environment(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "environ", os.environ.copy())
    os.environ["HF_HOME"] = "/from-environment"
    (tmp_path / ".env").write_text("HF_TOKEN=hidden-1234\nHF_HOME=/from-file\nOPENAI_API_KEY=other\n")
    result = CliRunner().invoke(app, ["acts", "list"])
    assert result.exit_code == 0, result.output
    assert os.environ["HF_TOKEN"] == "hidden-1234"
    assert os.environ["HF_HOME"] == "/from-environment"
    assert "OPENAI_API_KEY" not in os.environ
    assert "hidden" not in result.output


@pytest.mark.parametrize("content", [b"OPENAI_API_KEY=k\xff\n", b"HF_TOKEN=a\0b\n", "HF_TOKEN=k\n".encode("utf-16")])
def test_an_env_file_that_is_no_text_is_one_line(content, tmp_path):
    (tmp_path / ".env").write_bytes(content)
    result = CliRunner().invoke(app, ["acts", "list"])
    assert isinstance(result.exception, UserError), result.output
    assert "not a text file in UTF-8" in str(result.exception)


def test_a_wrong_value_is_named_and_not_shown(monkeypatch):
    monkeypatch.setenv("R2_JURISDICTION", "hidden-1234")
    with pytest.raises(UserError, match=r"R2_JURISDICTION: Input should be 'eu' or 'fedramp'") as caught:
        load_bucket_settings()
    assert "hidden" not in str(caught.value)
