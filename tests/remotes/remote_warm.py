"""What every DVC and mup command of these tests would do first, done once in the process that they are forked from.

Imports, DVC's table of arguments, its grammar for `${…}`, and botocore's descriptions of S3: two thirds of what a
command takes. A command does the same as without, except that SQLite does not wait for the disk, and that pauses
before another attempt are shorter.
"""

import asyncio
import gc
import importlib

from botocore.loaders import Loader
from botocore.session import Session
from diskcache.core import DEFAULT_SETTINGS
from dvc.cli.parser import get_main_parser
from dvc.parsing.interpolate import parse_expr

LIBRARIES = (
    "aiobotocore.session",
    "dulwich.ignore",
    "dulwich.index",
    "dulwich.trailers",
    "dulwich.worktree",
    "dvc._debug",
    "dvc.cachemgr",
    "dvc.data_cloud",
    "dvc.dirs",
    "dvc.info",
    "dvc.repo.artifacts",
    "dvc.repo.brancher",
    "dvc.repo.datasets",
    "dvc.repo.experiments.executor.local",
    "dvc.repo.experiments.queue.celery",
    "dvc.repo.experiments.queue.tempdir",
    "dvc.repo.experiments.queue.workspace",
    "dvc.repo.fetch",
    "dvc.repo.graph",
    "dvc.repo.index",
    "dvc.repo.metrics",
    "dvc.repo.open_repo",
    "dvc.repo.params",
    "dvc.repo.plots",
    "dvc.repo.push",
    "dvc.repo.reproduce",
    "dvc.repo.stage",
    "dvc.repo.status",
    "dvc.repo.trie",
    "dvc.repo.worktree",
    "dvc.rwlock",
    "dvc.scm",
    "dvc.utils.strictyaml",
    "dvc_data.hashfile._progress",
    "dvc_data.hashfile.db.index",
    "dvc_data.hashfile.db.local",
    "dvc_data.hashfile.status",
    "dvc_data.index.checkout",
    "dvc_data.index.fetch",
    "dvc_data.index.push",
    "dvc_s3",
    "flatten_dict",
    "fsspec.implementations.memory",
    "models_under_pressure.cli",
    "models_under_pressure.tools.acts",
    "models_under_pressure.tools.doctor",
    "models_under_pressure.tools.remote",
    "networkx",
    "platformdirs.unix",
    "rich._emoji_codes",
    "rich.console",
    "ruamel.yaml",
    "ruamel.yaml.mergevalue",
    "s3fs",
    "torch",
    "typer._click.decorators",
)


def share_descriptions():
    """One memory of botocore's JSON files for all sessions, not one for each."""
    first, shared = Loader.__init__, {}

    def begin(self, *arguments, **options):
        first(self, *arguments, **options)
        self._cache = shared

    Loader.__init__ = begin


def hurry():
    """What botocore and s3fs wait before they try again is a tenth; they try as often."""
    sleep = asyncio.sleep
    asyncio.sleep = lambda delay, result=None: sleep(delay / 10, result)


for name in LIBRARIES:
    importlib.import_module(name)
get_main_parser()
parse_expr("item.label")
DEFAULT_SETTINGS["sqlite_synchronous"] = 0  # a kill of a process loses nothing by it
share_descriptions()
hurry()
Session().create_client("s3", region_name="auto", aws_access_key_id="-", aws_secret_access_key="-")
gc.freeze()  # children neither look through these objects nor copy them
