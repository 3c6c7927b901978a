import importlib.util
from pathlib import Path

import pytest

SPEC = importlib.util.spec_from_file_location("replay", Path(__file__).parents[2] / "benchmarks" / "replay.py")
replay = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(replay)


@pytest.mark.slow
def test_replay_is_fast_and_takes_no_memory(tmp_path):
    """The figure of docs/benchmarks.md is 11,300 per second of CPU; a busy machine reaches a quarter of it."""
    measured = replay.measure(1000, tmp_path)
    assert measured["per cpu second"] > 2800
    assert measured["bytes per reply"] < 900
    first, *_, last = measured["resident MB after each part"]
    assert last - first < 5
