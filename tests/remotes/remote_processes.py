"""DVC and mup commands in processes of their own, forked from one that has done what is in remote_warm.py."""

import multiprocessing
import os
import signal
import sys
import time
from multiprocessing import forkserver
from pathlib import Path

CONTEXT = multiprocessing.get_context("forkserver")
WARM = "remote_warm"
OWN = {"pid": None}
"""The server that was started here: a process has one, and `mup` starts it, too, for jobs."""


def start_server():
    """Start what commands are forked from; it finds the modules beside this one by PYTHONPATH only."""
    server = forkserver._forkserver
    if server._forkserver_pid != OWN["pid"]:
        server._stop()  # another test's, which has not done what is in remote_warm.py
    CONTEXT.set_forkserver_preload(["remote_processes", WARM])
    usual = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *filter(None, [usual])])
    try:
        forkserver.ensure_running()
        OWN["pid"] = server._forkserver_pid
    finally:
        del os.environ["PYTHONPATH"]
        if usual is not None:
            os.environ["PYTHONPATH"] = usual


class Command:
    """A command that runs; it leads a process group, as in a terminal."""

    def __init__(self, program, arguments, folder, environment, log):
        self.log = Path(log)
        self.name = " ".join((program, *arguments))
        start_server()
        self._process = CONTEXT.Process(target=_run, args=(program, arguments, str(folder), environment, str(log)))
        self._process.start()

    @property
    def output(self):
        return self.log.read_text() if self.log.exists() else ""

    def wait(self, seconds=120):
        self._process.join(seconds)
        if self._process.exitcode is None:
            self.kill()
            raise AssertionError(f"{self.name} did not end in {seconds} s\n{self.output}")
        self.returncode = self._process.exitcode
        return self

    def running(self):
        return self._process.is_alive()

    def wait_until(self, condition, seconds=60):
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end or not self.running():
                raise AssertionError(f"{self.name}: what was waited for did not happen\n{self.output}")
            time.sleep(0.01)

    def kill(self):
        """End the command and all that it started, at once."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:  # not yet a group, or ended
            self._process.kill()
        self._process.join()


def _run(program, arguments, folder, environment, log):
    os.setsid()
    assert WARM in sys.modules, "a server whose imports fail goes on without them"
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    code = _dvc(arguments) if program == "dvc" else _mup(arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _dvc(arguments):
    from dvc.cli import main

    sys.argv = ["dvc", *arguments]
    return main(list(arguments))


def _mup(arguments):
    from models_under_pressure.cli import main

    sys.argv = ["mup", *arguments]
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0
