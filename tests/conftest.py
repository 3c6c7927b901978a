import os
import sys
from itertools import count

import pytest
from hypothesis import HealthCheck, settings
from warm_python import warm_python

# two small cores: threads that wait for each other cost more than they bring
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# without bytecode every process that a test starts compiles the libraries again, for seconds
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

LONGEST = (
    "pipeline/test_pipeline.py",
    "remotes/test_faults.py",  # meanwhile the first one runs the pipeline, for which the next ones would wait
    "pipeline/test_kills.py",
    "pipeline/test_readme.py",
    "pipeline/test_sharing.py",
)

NUMBERS = count()

settings.register_profile(
    "suite",
    deadline=None,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("suite")


def pytest_collection_modifyitems(items):
    """Begin with the files that take longest, so that no core waits for another one's at the end."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get("/".join(item.path.parts[-2:]), len(places)))


@pytest.fixture(autouse=True)
def _own_caches(tmp_path_factory, monkeypatch):
    """Tests neither read nor write the user's ledger of paid replies and shelf of stores."""
    own = tmp_path_factory.getbasetemp() / "caches" / str(next(NUMBERS))
    monkeypatch.setenv("MUP_LEDGER", str(own / "ledger.sqlite"))
    monkeypatch.setenv("MUP_STORES", str(own / "stores"))


@pytest.fixture(scope="session")
def warm_path():
    """A PATH whose `python` starts at once: for commands that many tests start."""
    with warm_python() as path:
        yield path
