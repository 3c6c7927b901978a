"""The GitHub workflows: pinned, least privilege, safe for forks, and calling what exists."""

import re
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
