"""`mup datasets`, on a small project in a temporary folder."""

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from models_under_pressure.core.conversation import Message
from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import write_json
from models_under_pressure.core.records import Label, Record, write_records
from models_under_pressure.datasets.files import manifest_path, split_path
from models_under_pressure.datasets.lineage import load_lineage
from models_under_pressure.tools.datasets import app

ROOT = Path(__file__).parents[2]


def labelled(id_, label, score, text="a note on pain", **fields):
    return Record(id_, text, label, score, 9, f"because {score}", "m", fields=fields)


BASE = [labelled("1", Label.HIGH, 9), labelled("2", Label.LOW, 2, "b"), labelled("3", Label.LOW, 1, "c")]
LATER = [replace(BASE[0], label=Label.LOW, scale_label=3), *BASE[1:]]


@pytest.fixture
def project(tmp_path, monkeypatch):
    for name in ("params.yaml", "data/versions.yaml", "published/catalog.yaml", "published/params.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for version, rows in (("mar_20", BASE), ("apr_16", LATER)):
        write_records(split_path("mt", version, "dev"), rows)
        write_records(split_path("mt", version, "test"), [labelled("9", Label.HIGH, 8, "z")])
        write_json(manifest_path("mt", version), {"dataset": "mt", "version": version, "parent": "source"})
    return tmp_path


def mup(*arguments):
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_list_names_every_version_with_its_steps(project):
    lines = mup("list").splitlines()
    assert len(lines) == len(load_lineage().versions)
    assert any(line.startswith("mt_apr_30") and line.endswith("move_last") for line in lines)


def test_diff_between_versions_as_text_and_as_json(project):
    assert "flips 1" in mup("diff", "mt", "mar_20", "apr_16")
    (flip,) = json.loads(mup("diff", "mt", "mar_20", "apr_16", "--format", "json"))["flips"]
    assert (flip["before"]["score"], flip["after"]["score"]) == (9, 3)


def test_diff_between_git_revisions_reads_what_dvc_tracked_then(project, monkeypatch):
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(project / "site"))
    for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"):
        monkeypatch.setenv(name, "t")
    from dvc.repo import Repo

    subprocess.run(["git", "init", "-q", "-b", "main"], check=True)
    repo = Repo.init()
    repo.add(["data/evals"])
    subprocess.run(["git", "add", "-A"], check=True)
    subprocess.run(["git", "commit", "-qm", "one"], check=True)
    write_records(split_path("mt", "mar_20", "dev"), LATER)
    repo.add(["data/evals"])
    assert "flips 1" in mup("diff", "mt", "mar_20@HEAD", "mar_20")
    assert "flips 0" in mup("diff", "mt", "mar_20", "apr_16")
    with pytest.raises(UserError, match="nowhere"):
        mup("diff", "mt", "mar_20@nowhere", "mar_20")


def test_diff_reads_a_commit_from_before_a_version_was_one_folder(project, monkeypatch):
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(project / "site"))
    for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"):
        monkeypatch.setenv(name, "t")
    from dvc.repo import Repo

    subprocess.run(["git", "init", "-q", "-b", "main"], check=True)
    repo = Repo.init()
    for split in ("dev", "test"):
        now = split_path("mt", "mar_20", split)
        then = Path("data/evals") / split / now.name
        then.parent.mkdir(exist_ok=True)
        shutil.copy(now, then)
        repo.add([str(then)])
    subprocess.run(["git", "add", "-A"], check=True)
    subprocess.run(["git", "commit", "-qm", "old"], check=True)
    write_records(split_path("mt", "mar_20", "dev"), LATER)
    shutil.rmtree("data/evals/dev")
    assert "flips 1" in mup("diff", "mt", "mar_20@HEAD", "mar_20")
    with pytest.raises(UserError, match=r"data/evals/mt_apr_15/mt_raw_apr_15.jsonl of HEAD: neither"):
        mup("diff", "mt", "apr_15@HEAD", "mar_20")


def test_a_version_that_was_not_made_is_one_clear_error(project):
    with pytest.raises(UserError, match="mt_raw_apr_30.jsonl"):
        mup("diff", "mt", "apr_30", "apr_16")


def test_agreement_counts_the_flips(project):
    found = json.loads(mup("agreement", "mt", "mar_20", "apr_16", "--format", "json"))
    assert found["rows"] == 4
    assert found["flips"]["high-stakes"]["low-stakes"] == 1
    assert "Cohen's kappa" in mup("agreement", "mt", "mar_20", "apr_16")


def test_show_gives_every_versions_label_and_the_last_conversation(project):
    text = mup("show", "1")
    assert "mt_mar_20 dev_raw: high-stakes (rating 9, confidence 9, m): because 9" in text
    assert "mt_apr_16 dev_raw: low-stakes (rating 3" in text
    assert "[user] a note on pain" in text


def test_show_asks_which_dataset_is_meant_and_names_an_unknown_id(project):
    write_records(split_path("aya", "mar_25", "test"), [labelled("1", Label.LOW, 1)])
    write_json(manifest_path("aya", "mar_25"), {"dataset": "aya", "version": "mar_25", "parent": "source"})
    with pytest.raises(UserError, match="2 datasets have a record '1': aya, mt"):
        mup("show", "1")
    assert "[user]" in mup("show", "1", "--dataset", "aya")
    with pytest.raises(UserError, match="no record '404'"):
        mup("show", "404")


def test_show_disarms_terminal_codes(project):
    write_records(split_path("mt", "apr_16", "dev"), [labelled("e", Label.LOW, 1, "a\x1b]0;owned\x07b")])
    assert "\x1b" not in mup("show", "e")


def test_distribution_covers_the_files_that_exist(project):
    assert [line.split()[0] for line in mup("distribution").splitlines()[1:]] == ["mt_mar_20"] * 2 + ["mt_apr_16"] * 2
    path = split_path("mt", "apr_16", "dev").as_posix()
    assert json.loads(mup("distribution", path, "--format", "json"))[path]["rows"] == 3


def test_overlap_of_any_files_lists_the_pairs(project):
    pairs = mup("overlap", *(split_path("mt", v, "dev").as_posix() for v in ("mar_20", "apr_16")))
    assert pairs.startswith("9 pairs: group 3, id 3, text 3")
    write_records(split_path("aya", "apr_22", "test"), [labelled("1", Label.LOW, 1, "another text")])
    aya, mt = (split_path(name, "apr_22", "test").as_posix() for name in ("aya", "mt"))
    write_records(Path(mt), [labelled("1", Label.LOW, 1, "a text")])
    assert mup("overlap", mt, aya).startswith("0 pairs")


def test_use_points_the_datasets_at_published_files_and_back(project):
    from dvc.utils.serialize import modify_yaml

    original = load_lineage().datasets
    text = Path("data/versions.yaml").read_text()
    file = {"url": "http://x/a.jsonl", "to": "evals/dev/mt_balanced_apr_30.jsonl"}
    with modify_yaml("published/params.yaml") as content:
        content.update(selected={"mt_dev_balanced": file})
    said = mup("use", "published")
    changed = load_lineage().datasets
    path = "data/published/evals/dev/mt_balanced_apr_30.jsonl"
    assert changed == original | {"dev": original["dev"] | {"mt_dev": path}}
    assert f"mt_dev               {path}\n" in said
    mup("use", "versions")
    assert load_lineage().datasets == original
    assert Path("data/versions.yaml").read_text() == text, "comments and layout stay"


def test_a_conversation_is_shown_turn_by_turn(project):
    turns = (Message("system", "Be kind."), Message("user", "Hi"))
    write_records(split_path("mt", "apr_16", "dev"), [replace(BASE[0], id="t", input=turns)])
    assert mup("show", "t").endswith("[system] Be kind.\n\n[user] Hi\n")
