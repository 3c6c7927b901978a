"""The GitHub workflows: pinned, least privilege, safe for forks, and calling what exists."""

import re
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.fixture(params=WORKFLOWS, ids=lambda path: path.stem)
def workflow(request):
    return YAML(typ="safe").load(request.param.read_text())


def steps(workflow):
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def test_every_action_is_pinned_by_its_full_commit(workflow):
    used = [step["uses"] for step in steps(workflow) if "uses" in step]
    assert used
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action) for action in used)


def test_permissions_are_named_and_read_only_by_default(workflow):
    assert workflow["permissions"] == {"contents": "read"}


def test_code_of_a_fork_never_runs_with_secrets_or_a_token_that_writes(workflow):
    # pull_request_target and workflow_run hand both to code that anyone can send.
    assert set(workflow["on"]) <= {"push", "pull_request"}
    assert all(
        step["with"]["persist-credentials"] is False for step in steps(workflow) if "checkout" in step.get("uses", "")
    )


def test_nothing_from_the_pull_request_is_pasted_into_a_shell(workflow):
    for step in steps(workflow):
        assert "${{" not in step.get("run", ""), step
        assert "${{" not in step.get("with", {}).get("script", ""), step


def test_every_job_ends_in_time(workflow):
    assert all("timeout-minutes" in job for job in workflow["jobs"].values())


def test_the_review_is_gated_and_posted_only_where_a_token_may_comment():
    found = YAML(typ="safe").load((ROOT / ".github/workflows/review.yml").read_text())
    (comment,) = [step for step in steps(found) if step.get("name") == "Comment"]
    assert "head.repo.full_name == github.repository" in comment["if"]
    (pull,) = [step for step in steps(found) if step.get("name") == "Pull data"]
    assert pull["if"] == "env.R2_ACCESS_KEY_ID != ''"


def test_the_review_command_takes_the_options_that_the_workflow_gives():
    import inspect

    from models_under_pressure.tools.review import command as review

    text = (ROOT / ".github/workflows/review.yml").read_text()
    used = set(re.findall(r"mup review .*", text)[0].split()) | set(re.findall(r"mup review .*", text)[1].split())
    known = {"--" + name.replace("form", "format").replace("_", "-") for name in inspect.signature(review).parameters}
    assert {option for option in used if option.startswith("--")} <= known


def checked(folder, monkeypatch, **changes):
    """Status and summary of the step that compares the committed results with the run's, after changes of files."""
    found = YAML(typ="safe").load((ROOT / ".github/workflows/review.yml").read_text())
    (step,) = [step for step in steps(found) if step.get("name", "").startswith("Check that the committed metrics")]
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "t")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "t@t")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(folder / "summary.md"))
    repository = folder / "repository"
    (repository / "metrics").mkdir(parents=True)
    for name in ("dvc.lock", "metrics/summary.json"):
        (repository / name).write_text("1")
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "one"]):
        subprocess.run(["git", *command], cwd=repository, check=True)
    for name, content in changes.items():
        (repository / name).write_text(content)
    done = subprocess.run(["bash", "-e", "-c", step["run"]], cwd=repository, check=False)
    summary = folder / "summary.md"
    return done.returncode, summary.read_text() if summary.exists() else ""


def test_a_run_with_other_metrics_than_the_committed_ones_fails_and_says_what_to_do(tmp_path, monkeypatch):
    for number, name in enumerate(("metrics/summary.json", "metrics/new.json")):
        status, summary = checked(tmp_path / str(number), monkeypatch, **{name: "2"})
        assert status == 1
        assert "Run `dvc repro` and commit" in summary
        assert name in summary


def test_a_run_with_other_hashes_in_dvc_lock_is_reported_only(tmp_path, monkeypatch):
    status, summary = checked(tmp_path / "a", monkeypatch, **{"dvc.lock": "2"})
    assert (status, "dvc.lock" in summary, "Committed metrics" in summary) == (0, True, False)
    assert checked(tmp_path / "b", monkeypatch) == (0, "")


def test_the_comment_fits_what_github_holds_and_comes_also_after_a_failed_check():
    found = YAML(typ="safe").load((ROOT / ".github/workflows/review.yml").read_text())
    named = {step.get("name"): step for step in steps(found)}
    assert "slice(0, 65000)" in named["Comment"]["with"]["script"]
    assert all("!cancelled()" in named[name]["if"] for name in ("Review", "Comment"))
