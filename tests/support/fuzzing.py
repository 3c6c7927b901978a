"""How many inputs a reader is shown: 150 in the suite, the same ones each time; `make fuzz` draws more."""

import os

from hypothesis import HealthCheck, settings

_ASKED = os.environ.get("MUP_FUZZ_EXAMPLES")

many = settings(
    max_examples=int(_ASKED or 150),
    derandomize=_ASKED is None,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
