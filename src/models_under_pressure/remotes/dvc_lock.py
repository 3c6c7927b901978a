"""The file that a kill of DVC can leave cut, so that DVC does not start: said by whatever of ours runs next."""

import json
import time
from pathlib import Path

from models_under_pressure.core.errors import UserError

_LOCK = Path(".dvc/tmp/rwlock")
_SETTLING = 0.2
"""Seconds: DVC writes the file in place, so that a reader may meet it half-written once."""


def cut_lock(root: Path) -> UserError | None:
    """What to do about DVC's rwlock, if a kill cut it; None if it is whole or absent."""
    path = root / _LOCK
    for attempt in range(2):
        try:
            if not path.exists() or isinstance(json.loads(path.read_bytes()), dict):
                return None
        except (ValueError, RecursionError, OSError):
            pass
        if attempt == 0:
            time.sleep(_SETTLING)
    problem = "cannot be read, because DVC was killed while it wrote the file; DVC does not start until it is gone."
    return UserError(problem, where=str(path), remedy=f"`rm {path}`; it holds no results")
