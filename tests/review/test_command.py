"""`mup review` in temporary DVC repositories: revisions, caches that lack things, and the gate."""

from pathlib import Path

import pytest
from repositories import TODAY

from models_under_pressure.core.errors import UserError
from models_under_pressure.tools.review import GATE_STATUS

pytestmark = pytest.mark.slow

UNREAD = "`dvc pull` or `dvc fetch --all-commits` brings them"


def mean_row(found):
    """The result of the probe."""
    (row,) = [row for row in found["results"] if row["probe"] == "mean"]
    return row


def gone(verdicts):
    """Counts without the verdict of results that are the same."""
    return {verdict: count for verdict, count in verdicts.items() if count and verdict != "unchanged"}


def test_a_pull_request_from_change_to_verdict(repository):
    verdicts = repository.json()["verdicts"]
    assert set(verdicts) == {"better", "worse", "noise", "unchanged", "not comparable"}
    assert gone(verdicts) == {}
    assert verdicts["unchanged"] >= 1

    found = repository.json("HEAD~3", "--to", "HEAD~2")
    assert [(row["key"], row["before"], row["after"]) for row in found["params"]] == [
        ("probe.dtype", "float32", "bfloat16"),
        ("probe.noise", 1, 2),
    ]
    assert found["verdicts"]["noise"] == 1

    found = repository.json("HEAD~2", "--to", "HEAD~1")
    assert mean_row(found)["reason"] == "200 texts edited"
    assert {change["edited"] for change in found["datasets"]} == {200}
    assert found["costs"] == {}

    assert repository.json("HEAD", "--to", "HEAD~1")["verdicts"]["better"] == 1
    repository.take_back_commit()
    assert repository.json()["verdicts"]["worse"] == 1
    assert repository.review("--fail-if", "worse").exit_code == GATE_STATUS
    assert repository.review("HEAD").exit_code == 0

    repository.change(rows=220)
    found = repository.json()
    assert (mean_row(found)["reason"], mean_row(found)["n"]) == ("20 added", 220)
    assert found["costs"]["relabel_mt_apr_30"] == {
        "replies": 20,
        "input_tokens": 2000,
        "output_tokens": 200,
        "usd": pytest.approx(20 * (100 * 2.5 + 10 * 10) / 1e6),
    }
    done = repository.review("--output", "review.md")
    assert done.output == ""
    assert "| `data/evals/mt_apr_30/mt_balanced_apr_30.jsonl` | 200 rows" in Path("review.md").read_text()


def test_without_the_scores_of_a_side_the_verdict_is_unpaired_and_one_line_says_why(repository):
    repository.take_back_commit()
    paired = mean_row(repository.json())
    repository.run("rm", "-rf", ".dvc/cache")
    found = repository.json()
    row = mean_row(found)
    assert (row["verdict"], row["paired"], paired["paired"]) == ("worse", False, True)
    widths = [one["difference"]["high"] - one["difference"]["low"] for one in (row, paired)]
    assert widths[0] > widths[1] > 0
    assert row["difference"]["value"] == pytest.approx(paired["difference"]["value"], abs=0.001)
    (line,) = [line for line in found["warnings"] if line.startswith("scores")]
    assert line.startswith("scores of HEAD are in no cache and on no remote (")
    assert line.endswith(f"intervals are unpaired; {UNREAD}")
    drawn = repository.review().output
    assert "🔻 worse (unpaired)" in drawn
    assert drawn.count("wider than the paired one") == 1


def test_a_clone_of_a_project_that_was_never_pushed_judges_by_the_intervals(repository, clone):
    found = clone(repository).json("HEAD~1", "--to", "HEAD")
    assert (mean_row(found)["verdict"], mean_row(found)["paired"]) == ("worse", False)
    assert gone(found["verdicts"]) == {"worse": 1}
    assert [line.partition(" of ")[0] for line in found["warnings"]] == ["scores"]
    assert repository.review("HEAD~1", "--to", "HEAD", "--fail-if", "worse").exit_code == GATE_STATUS
    assert gone(repository.json("HEAD")["verdicts"]) == {}, "a workspace that was not pulled"


def test_noise_stays_noise_without_scores(repository, clone):
    found = clone(repository).json("HEAD~3", "--to", "HEAD~2")
    assert (mean_row(found)["verdict"], mean_row(found)["paired"]) == ("noise", False)


def test_other_texts_are_not_judged_by_intervals_either(repository, clone):
    found = clone(repository).json("HEAD~2", "--to", "HEAD~1")
    assert mean_row(found)["verdict"] == "not comparable"
    assert mean_row(found)["reason"] == "its file changed and is out of reach"
    assert len({line.partition(" of ")[0] for line in found["warnings"]}) == len(found["warnings"]), "a line a kind"


def test_a_folder_that_cannot_be_opened_is_one_row(today, clone):
    rows = today.json("HEAD~2", "--to", "HEAD~1")["datasets"]
    assert [(row["path"].rpartition("/")[2], row["edited"]) for row in rows] == [
        ("mt_balanced_apr_30.jsonl", 200),
        ("mt_raw_apr_30.jsonl", 200),
    ]
    found = clone(today).json("HEAD~2", "--to", "HEAD~1")
    assert [(row["path"], row["status"], row["before"]) for row in found["datasets"]] == [
        ("data/evals/mt_apr_30", "changed", None)
    ]
    assert not any(line.startswith("dataset files") for line in found["warnings"])
    assert "| `data/evals/mt_apr_30` | changed |" in today.review("HEAD~2", "--to", "HEAD~1").output


def test_both_pipelines_are_reviewed_and_an_experiment_of_a_clone_is_judged_by_its_own_intervals(today, clone):
    today.change("experiments/params.yaml", signal=3.0)
    found = today.json()
    assert [(row["key"], row["before"], row["after"]) for row in found["params"]] == [
        ("experiments:ask_baseline.signal", 1.0, 3.0)
    ]
    results = {row["probe"]: row["verdict"] for row in found["results"]}
    assert results == {"asked": "better", "mean": "unchanged"}
    today.commit("asked")
    found = clone(today).json("HEAD~1", "--to", "HEAD")
    assert {row["probe"]: (row["verdict"], row["paired"]) for row in found["results"]} == {
        "asked": ("better", False),
        "mean": ("unchanged", False),
    }


def test_activations_that_were_computed_differently_are_told(today):
    (told,) = today.json("HEAD~3", "--to", "HEAD~2")["warnings"]
    assert told.startswith("activations were computed differently (compute_dtype float32 and then bfloat16)")


def test_a_commit_of_the_old_form_is_compared_with_one_of_today(old, clone):
    """Files are found under the names that they have today; nothing that only moved is a change."""
    old.run("git", "rm", "-q", "metrics/evaluate.json", "metrics/overlap.json", "dvc.lock")
    old.run("rm", "-rf", "data/evals", "data/results", "data/replies")
    old.write(TODAY)
    old.change(text="goodbye", signal=3.0)
    old.commit("today")
    found = old.json("HEAD~1", "--to", "HEAD")
    assert (mean_row(found)["verdict"], mean_row(found)["paired"]) == ("better", True)
    assert [(row["path"], row["status"]) for row in found["datasets"]] == [
        ("data/evals/mt_apr_30/mt_raw_apr_30.jsonl", "new")
    ]
    assert [(row["version"], row["before"], row["after"]) for row in found["overlap"]] == [("in_use", None, 0)]
    found = clone(old).json("HEAD~1", "--to", "HEAD")
    assert (mean_row(found)["verdict"], mean_row(found)["paired"]) == ("better", False)
    assert [(row["path"], row["status"]) for row in found["datasets"]] == [("data/evals/mt_apr_30", "changed")]


def test_a_clone_without_data_fetches_scores_from_the_remote(repository, clone):
    repository.push()
    found = clone(repository).json("HEAD~1", "--to", "HEAD")
    assert found["warnings"] == []
    assert found["verdicts"]["worse"] == 1


def test_a_workspace_that_was_not_pulled_is_listed(old):
    Path("data/results/scores/mt_dev/mean.parquet").unlink()
    found = old.json()
    assert found["warnings"] == [
        f"scores of workspace are not in the workspace (1 file): the metrics in git stand in for them; {UNREAD}"
    ]
    assert found["verdicts"]["unchanged"] == 1


def test_a_revision_that_does_not_exist_is_named_with_the_remedy_for_ci(repository):
    for name in ("HEAD~9", "--upload-pack=x", "nonsense"):
        with pytest.raises(UserError, match="no revision.*fetch-depth: 0"):
            repository.review("--", name)


def test_a_commit_before_the_first_run_has_nothing_to_compare(repository):
    repository.run("git", "rm", "-rq", "*dvc.lock", "metrics")
    repository.commit("no results")
    found = repository.json("HEAD", "--to", "HEAD~1")
    assert mean_row(found)["reason"] == "new"
    assert found["warnings"] == ["HEAD has no dvc.lock: nothing had been run there"]
