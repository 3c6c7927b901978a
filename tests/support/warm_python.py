"""A `python` that has its imports behind it: a pipeline starts Python dozens of times, for seconds of imports each.

`warm_python()` starts a server that has imported the libraries, and makes a folder with a `python` that asks it to
fork. What this runs (`-m dvc …`, `-m models_under_pressure …`, a script) is a process with its own folder, environment
and copy of the package; its status is passed on, and it is killed with the `python` that asked. Anything else runs in
the ordinary Python, as everything does where there is no pidfd (macOS).
"""

import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from quick_dvc import kept, quicken_dvc

LIBRARIES = (
    "altair",
    "celery.canvas",
    "datasketch",
    "dulwich.filters",
    "dulwich.ignore",
    "dulwich.line_ending",
    "dulwich.porcelain",
    "dulwich.stash",
    "dulwich.worktree",
    "dvc._debug",
    "dvc.cachemgr",
    "dvc.cli.parser",
    "dvc.commands.data_sync",
    "dvc.commands.experiments",
    "dvc.data_cloud",
    "dvc.dirs",
    "dvc.repo.artifacts",
    "dvc.repo.brancher",
    "dvc.repo.datasets",
    "dvc.repo.experiments.executor.local",
    "dvc.repo.experiments.queue.celery",
    "dvc.repo.experiments.queue.tempdir",
    "dvc.repo.experiments.queue.workspace",
    "dvc.repo.experiments.run",
    "dvc.repo.experiments.show",
    "dvc.repo.graph",
    "dvc.repo.index",
    "dvc.repo.metrics.diff",
    "dvc.repo.open_repo",
    "dvc.repo.plots",
    "dvc.repo.push",
    "dvc.repo.reproduce",
    "dvc.repo.stage",
    "dvc.repo.status",
    "dvc.repo.trie",
    "dvc.repo.worktree",
    "dvc.ui.table",
    "dvc.utils.hydra",
    "dvc.utils.plots",
    "dvc_data.fs",
    "dvc_data.hashfile._progress",
    "dvc_data.hashfile.db.index",
    "dvc_data.hashfile.db.local",
    "dvc_data.hashfile.status",
    "dvc_data.index.checkout",
    "dvc_data.index.fetch",
    "dvc_data.index.push",
    "dvc_render",
    "dvc_task.app.filesystem",
    "dvc_task.proc.manager",
    "dvclive",
    "fsspec.implementations.memory",
    "hydra._internal.config_loader_impl",
    "hydra.core.override_parser.overrides_parser",
    "instructor",
    "jaxtyping",
    "jinja2",
    "openai",
    "peft",
    "pyarrow.dataset",
    "pyarrow.parquet",
    "pydantic_settings",
    "pygit2",
    "pyparsing",
    "rich._emoji_codes",
    "ruamel.yaml",
    "safetensors.numpy",
    "safetensors.torch",
    "scipy.stats",
    "scmrepo.git.backend.pygit2",
    "sklearn.feature_extraction.text",
    "sklearn.isotonic",
    "sklearn.linear_model",
    "tokenizers",
    "torch._dynamo",
    "torch.utils.flop_counter",
    "transformers.models.llama.modeling_llama",
    "typer",
    "typer._click.decorators",
    "vl_convert",
    "zarr",
)
WITH_CHILDREN = "WARM_PYTHON_KILLS_CHILDREN"
"""An environment variable: what the killed process has started is killed, too."""
CLIENT = """#!{python} -IS
import json, os, socket, sys
command = sys.argv[1:]
if command[:2] not in (["-m", "dvc"], ["-m", "models_under_pressure"]) and not command[0].endswith(".py"):
    os.execv({python!r}, [{python!r}, *command])
asked = json.dumps([command, os.getcwd(), dict(os.environ)]).encode()
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    socket.send_fds(server, [len(asked).to_bytes(8, "big")], [0, 1, 2])
    server.sendall(asked)
    sys.exit(server.recv(1)[0])
"""


@contextlib.contextmanager
def warm_python():
    """The value of PATH whose `python` is the warm one, until the context ends; the ordinary one on macOS."""
    usual = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    if not hasattr(os, "pidfd_open"):
        yield usual
        return
    # a short name: the address of a socket has 100 characters
    with tempfile.TemporaryDirectory(prefix="warm") as folder:
        address, client = f"{folder}/socket", Path(folder, "python")
        client.write_text(CLIENT.format(python=sys.executable, address=address))
        client.chmod(0o755)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(address)
            listener.listen(64)
            command = [sys.executable, __file__, str(listener.fileno())]
            server = subprocess.Popen(command, pass_fds=[listener.fileno()], stdin=subprocess.DEVNULL)
        try:
            yield f"{folder}{os.pathsep}{usual}"
        finally:
            server.kill()
            server.wait()


def keep_bundle(folder):
    """Put the library that pages draw figures with together once for all of them; the engine that does it cannot be
    forked."""
    import vl_convert

    make = vl_convert.javascript_bundle
    vl_convert.javascript_bundle = lambda snippet: kept(folder, "js", snippet, lambda: make(snippet).encode()).decode()


def serve(listener):
    for name in LIBRARIES:
        importlib.import_module(name)
    folder = Path(listener.getsockname()).parent
    quicken_dvc(folder)
    keep_bundle(folder)
    gc.freeze()  # else every process searches all that was imported for garbage, and copies it by doing so
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that answer
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            answer(connection)
            os._exit(0)
        connection.close()


def answer(connection):
    """Run what is asked for and send its status; kill it when who asked is gone."""
    size, streams, _, _ = socket.recv_fds(connection, 8, 3)
    asked = b""
    while len(asked) < int.from_bytes(size, "big"):
        asked += connection.recv(1 << 16)
    command, folder, environment = json.loads(asked)
    job = os.fork()
    if job == 0:
        connection.close()
        run(command, folder, environment, streams)
    for stream in streams:
        os.close(stream)
    ended = os.pidfd_open(job)
    if ended not in select.select([connection, ended], [], [])[0]:
        end = os.killpg if WITH_CHILDREN in environment else os.kill
        with contextlib.suppress(ProcessLookupError):
            end(job, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(job, 0)[1])
    with contextlib.suppress(BrokenPipeError):
        connection.sendall(bytes([status & 255]))


def of_the_hub(environment):
    """The variables that Hugging Face's libraries read when they are imported."""
    return {name: value for name, value in environment.items() if name.startswith("HF_")}


def run(command, folder, environment, streams):
    """Be the process that was asked for."""
    os.setsid()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(folder)
    before = of_the_hub(os.environ)
    os.environ.clear()
    os.environ.update(environment)
    if of_the_hub(environment) != before:
        importlib.reload(importlib.import_module("huggingface_hub.constants"))
    sys.stdout.reconfigure(line_buffering="PYTHONUNBUFFERED" in environment)
    sys.path[0] = str(Path(environment.get("PYTHONPATH", folder)).absolute())
    status = 0
    try:
        if command[0] == "-m":
            sys.argv = command[1:]
            runpy.run_module(command[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = command
            runpy.run_path(command[0], run_name="__main__")
    except SystemExit as done:
        status = done.code if isinstance(done.code, int) else int(done.code is not None)
        if status and not isinstance(done.code, int):
            sys.stderr.write(f"{done.code}\n")
    except BaseException:
        sys.excepthook(*sys.exc_info())
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
