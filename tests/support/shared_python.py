"""One warm Python (`warm_python.py`) for all processes of a run; its imports take ten seconds of a core.

As a program, this holds it until the last that uses it is gone, ended or killed.
"""

import contextlib
import fcntl
import subprocess
import sys
import time
from pathlib import Path

from warm_python import warm_python


@contextlib.contextmanager
def locked(path, kind):
    with path.open("a") as file:
        fcntl.flock(file, kind)
        yield


@contextlib.contextmanager
def shared_python(folder, seconds=120):
    """What `warm_python` gives, to all that name the same folder."""
    folder.mkdir(exist_ok=True)
    value = folder / "PATH"
    with locked(folder / "users", fcntl.LOCK_SH):
        with locked(folder / "starting", fcntl.LOCK_EX):
            if not value.exists():
                nothing = subprocess.DEVNULL
                command = [sys.executable, __file__, str(folder)]
                holder = subprocess.Popen(command, start_new_session=True, stdin=nothing, stdout=nothing)
                end = time.monotonic() + seconds
                while not value.exists():
                    assert holder.poll() is None, "the holder of the warm Python ended"
                    assert time.monotonic() < end, "the warm Python did not start"
                    time.sleep(0.02)
        yield value.read_text()


def hold(folder):
    with warm_python() as value:
        written = folder / "PATH.written"
        written.write_text(value)
        written.rename(folder / "PATH")
        with locked(folder / "users", fcntl.LOCK_EX):
            (folder / "PATH").unlink()


if __name__ == "__main__":
    hold(Path(sys.argv[1]))
