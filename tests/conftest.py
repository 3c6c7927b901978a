import atexit
import gc
import json
import os
import subprocess
import sys
from collections import defaultdict
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from shared_python import shared_python
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

MEASURED = Path(__file__).with_name("seconds.json")
"""Test -> seconds, of those that take more than `QUICK`; `make seconds` measures them anew."""
QUICK = 0.2
"""Seconds: what takes longer is slow, marked as such or not."""

settings.register_profile(
    "suite",
    deadline=None,
    max_examples=25,  # mutation runs drew 12, and what survived of them was read (docs/testing.md)
    derandomize="MUP_FUZZ_EXAMPLES" not in os.environ,  # `make fuzz` draws anew
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("suite")


def pytest_addoption(parser):
    parser.addoption("--measure", action="store_true", help="write tests/seconds.json: run it on a quiet machine")


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """A sixth of the time would be a search for garbage among classes that live as long as the process."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
        atexit.register(gc.unfreeze)  # what is still held at the exit is told as a leak by some libraries


def function_of(nodeid):
    """A test without its parameters."""
    return nodeid.split("[", 1)[0].removeprefix("tests/")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark what was measured to be slow; begin with the files that take longest, so that no core waits at the end."""
    measured = json.loads(MEASURED.read_text())
    for item in items:
        if function_of(item.nodeid) in measured:
            item.add_marker(pytest.mark.slow)
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get("/".join(item.path.parts[-2:]), len(places)))


def pytest_configure(config):
    if config.getoption("measure") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Clock())


class Clock:
    """Adds up what each test takes, and writes down the slow ones when all have run."""

    def __init__(self):
        self.seconds = defaultdict(float)

    def pytest_runtest_logreport(self, report):
        self.seconds[report.nodeid] += report.duration

    def pytest_sessionfinish(self):
        slow = defaultdict(float)
        for nodeid, seconds in self.seconds.items():
            if seconds > QUICK:
                slow[function_of(nodeid)] = max(slow[function_of(nodeid)], round(seconds, 1))
        MEASURED.write_text(json.dumps(slow, indent=0, sort_keys=True) + "\n")


@pytest.fixture(autouse=True)
def _own_caches(tmp_path_factory, monkeypatch):
    """Tests neither read nor write the user's ledger of paid replies and shelf of stores."""
    own = tmp_path_factory.getbasetemp() / "caches" / str(next(NUMBERS))
    monkeypatch.setenv("MUP_LEDGER", str(own / "ledger.sqlite"))
    monkeypatch.setenv("MUP_STORES", str(own / "stores"))


@pytest.fixture(scope="session")
def warm_path(tmp_path_factory, worker_id):
    """A PATH whose `python` starts at once: for commands that many tests start; the processes of a run share it."""
    alone = worker_id == "master"
    with warm_python() if alone else shared_python(tmp_path_factory.getbasetemp().parent / "warm") as path:
        yield path


@pytest.fixture
def warm_run(warm_path):
    """Run `python` with arguments, at once: a script, or `-m models_under_pressure …`."""

    def run(*arguments, **options):
        environment = os.environ | {"PATH": warm_path, "PYTHONPATH": str(Path(__file__).parents[1] / "src")}
        command = ["python", *map(str, arguments)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, **options)

    return run
