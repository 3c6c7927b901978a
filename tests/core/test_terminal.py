"""What reaches a terminal: text of any script, and nothing that moves its cursor or turns its writing around."""

import json
import os
import subprocess
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from models_under_pressure.cli import app
from models_under_pressure.core.display import masked, notice, printable, text_table
from models_under_pressure.core.errors import UserError

EVIL = "\x1b]0;owned\x07\x1b[2J\r\x9b1m\u202eevil\u2066\u200b\u2028\x7f"


def is_harmless(text):
    foreign = set(text) - set("\n\t\u200c\u200d")
    return not [one for one in foreign if unicodedata.category(one)[0] == "C" or one in "\u2028\u2029"]


@given(st.text(st.characters(codec=None, exclude_categories=[])))
def test_no_text_whatever_keeps_a_control_or_format_character(text):
    assert is_harmless(printable(text))


@given(st.text(st.characters(categories=["L", "M", "N", "P", "S", "Zs"])))
def test_letters_marks_and_signs_of_every_script_stay_as_they_are(text):
    assert printable(text) == text


@given(st.text())
def test_a_line_of_json_stays_the_json_that_it_was(text):
    line = json.dumps(text, ensure_ascii=False)
    assert json.loads(printable(line)) == text


def test_errors_are_one_harmless_line_with_what_they_quote():
    error = UserError(f"no column\n'{EVIL}'.", where=EVIL, remedy=EVIL)
    assert is_harmless(str(error))
    assert "\n" not in str(error)
    assert "\\u202eevil" in str(error)


def test_notices_and_tables_are_harmless(capsys):
    notice(EVIL)
    assert is_harmless(capsys.readouterr().err)
    table = text_table((EVIL, ">n"), [[EVIL, 1], ["two\nlines", 2]])
    assert is_harmless(table)
    assert len(table.splitlines()) == 3


@pytest.fixture
def evil_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    row = {"ids": EVIL, "inputs": [{"role": "user", "content": EVIL}], "labels": "high-stakes", EVIL: EVIL}
    path = tmp_path / "\x1b[31mevil\u202e.jsonl"
    path.write_text(json.dumps(row) + "\n")
    return path


@pytest.mark.parametrize("arguments", [["distribution"], ["show", EVIL, "--file"]])
def test_commands_print_nothing_that_a_file_aimed_at_the_terminal(arguments, evil_file):
    result = CliRunner().invoke(app, ["datasets", *arguments, str(evil_file)])
    assert result.exit_code == 0, result.exception
    assert "evil" in result.output
    assert is_harmless(result.output)


def test_json_for_other_programs_stays_exact(evil_file):
    result = CliRunner().invoke(app, ["datasets", "distribution", "--format", "json", str(evil_file)])
    assert list(json.loads(result.output)) == [evil_file.as_posix()]


def child(code, **variables):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG"))}
    done = subprocess.run([sys.executable, "-c", code], env=environment | variables, capture_output=True, check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


SAYING = """
import sys, typer
from models_under_pressure import cli
from models_under_pressure.core.errors import UserError
def say():
    print("東京 🚀 café \\ud800")
    raise UserError("東京")
cli.app = say
cli.main()
"""


@pytest.mark.parametrize(
    "variables",
    [
        {"PYTHONIOENCODING": "cp1252"},
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1"},
        {"PYTHONIOENCODING": "utf-16"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    ],
    ids=str,
)
def test_output_is_utf_8_whatever_the_locale_says(variables):
    code = SAYING.encode("ascii", "backslashreplace").decode()  # the locale must not matter to the test's own text
    assert child(code, **variables) == (1, "東京 🚀 café \\ud800\n", "mup: 東京\n")


def test_windows_is_refused_in_one_line():
    code = "import sys\nfrom models_under_pressure.cli import main\nsys.platform = 'win32'\nmain()"
    assert child(code) == (1, "", "mup: Windows is not supported. Remedy: use Linux, macOS, or WSL 2 on Windows.\n")


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://user:secret@host/x", "https://***@host/x"),
        ("https://token@host:9000", "https://***@host:9000"),
        ("http://host/dvc?X-Amz-Signature=secret", "http://host/dvc?***"),
        ("s3://key:secret@bucket/dvc", "s3://***@bucket/dvc"),
        ("'https://u:secret@h/a?b=secret' and s3://plain/x", "'https://***@h/a?***' and s3://plain/x"),
        ("https://user:se/cret@host/x", "https://***@host/x"),
        ("https://user:se?cret@host/x", "https://***@host/x"),
        ("https://host/x#secret", "https://host/x#***"),
        ("someone@example.org", "someone@example.org"),
    ],
)
def test_addresses_are_shown_without_what_may_be_a_secret(address, shown):
    assert masked(address) == shown
    assert "cret" not in masked(address)
