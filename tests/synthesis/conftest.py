import importlib.util
from pathlib import Path

import pytest

SPEC = importlib.util.spec_from_file_location("making", Path(__file__).with_name("making.py"))


@pytest.fixture(scope="session")
def making():
    module = importlib.util.module_from_spec(SPEC)
    SPEC.loader.exec_module(module)
    return module
