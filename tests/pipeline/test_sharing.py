"""What one ran, another does not run again, although their shelves of stores have nothing in common."""

import pytest
from ruamel.yaml import YAML

pytestmark = pytest.mark.slow


@pytest.fixture
def colleague(pipeline, tmp_path):
    """A clone after a push, with the same remotes and nothing else in common: no cache, no shelf, no ledger."""
    pipeline.dvc("push", "-q", "--run-cache")
    own = {name: str(tmp_path / name) for name in ("DVC_SITE_CACHE_DIR", "MUP_STORES", "MUP_LEDGER")}
    other = type(pipeline)(tmp_path / "b", pipeline.environment | own)
    pipeline.run("git", "clone", "-q", str(pipeline.path), str(other.path))
    for name in ("datasets", "activations"):
        other.dvc("remote", "modify", "-q", "--local", name, "url", str(pipeline.path / ".remotes" / name))
    return other


def test_a_colleague_with_the_run_cache_extracts_nothing(pipeline, colleague):
    """Even without dvc.lock, as after a branch whose lock was thrown away. DVC looks for what the run cache names on
    the default remote only, so that stages whose outputs belong to `datasets` run again."""
    targets = {"extract": "dvc.lock", "experiments/dvc.yaml:extract_layers": "experiments/dvc.lock"}
    for lock in targets.values():
        (colleague.path / lock).unlink()
    ran = colleague.stages_run(colleague.dvc("repro", "--pull", "--allow-missing", *targets).stdout)
    assert not ran & set(targets)
    for target, lock in targets.items():
        first, second = (
            YAML(typ="safe").load((one.path / lock).read_text())["stages"] for one in (pipeline, colleague)
        )
        assert target.rpartition(":")[2] in second
        assert {name: first[name] for name in second} == second
    assert not (colleague.path.parent / "MUP_STORES").exists(), "no store was made"


def test_a_colleague_who_pulls_has_everything(pipeline, colleague):
    colleague.dvc("pull", "-q")
    assert colleague.dvc("status").stdout.strip() == "Data and pipelines are up to date."
    assert colleague.stages_run(colleague.dvc("repro").stdout) == set()
    shown = colleague.mup("remote", "status").stdout
    assert "lost" not in shown
