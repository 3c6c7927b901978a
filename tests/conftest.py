import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# two small cores: threads that wait for each other cost more than they bring
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# without bytecode every process that a test starts compiles the libraries again, for seconds
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

settings.register_profile(
    "suite",
    deadline=None,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("suite")


@pytest.hookimpl(tryfirst=True)  # before workers read the groups
def pytest_collection_modifyitems(items):
    """Give the tests of the whole pipeline, which share a repository, to one worker, and begin with them."""
    whole = Path(__file__).with_name("pipeline")
    for item in items:
        if whole in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("pipeline"))
    items.sort(key=lambda item: whole not in item.path.parents)


@pytest.fixture(autouse=True)
def _own_ledger(tmp_path_factory, monkeypatch):
    """Tests neither read nor write the user's ledger of paid replies."""
    monkeypatch.setenv("MUP_LEDGER", str(tmp_path_factory.mktemp("ledger") / "ledger.sqlite"))
