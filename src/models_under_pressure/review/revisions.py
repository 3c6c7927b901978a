"""A commit or the workspace: what git tracks of it, and what DVC's cache or a remote has."""

import json
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

from models_under_pressure.core.errors import UserError

WORKSPACE = "workspace"
LOCKS = ("dvc.lock", "experiments/dvc.lock")


class Missing(NamedTuple):
    """A file that is out of reach."""

    path: str
    reason: str


class Revision:
    """A commit or the workspace, whose tracked files can be read as paths."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.commit = None if name == WORKSPACE else _commit(name)
        self._folder = folder
        self._filesystem: Any = None
        self.missing: list[Missing] = []

    def text(self, path: str) -> str:
        """A file that git tracks; empty when the revision does not have it."""
        if self.commit is None:
            return Path(path).read_text("utf-8") if Path(path).is_file() else ""
        done = _git("show", f"{self.commit}:./{path}")
        return done.stdout if done.returncode == 0 else ""

    def yaml(self, path: str) -> dict[str, Any]:
        """A YAML 1.2 file as plain values; empty when the revision does not have it.

        Raises:
            UserError: it is not YAML.
        """
        from ruamel.yaml import YAML
        from ruamel.yaml.error import YAMLError

        try:
            parser: Any = YAML(typ="safe")
            return parser.load(self.text(path)) or {}
        except YAMLError as error:
            raise UserError(
                f"not YAML ({' '.join(str(error).split())}).",
                where=f"{self.name}:{path}",
                remedy="solve merge conflicts first.",
            ) from None

    def json(self, path: str) -> dict[str, Any]:
        """A JSON file; empty when the revision does not have it.

        Raises:
            UserError: it is not JSON.
        """
        try:
            return json.loads(self.text(path) or "{}")
        except ValueError:
            raise UserError("not JSON.", where=f"{self.name}:{path}", remedy="solve merge conflicts first.") from None

    def outputs(self) -> dict[str, str]:
        """Path of every output in dvc.lock and experiments/dvc.lock -> content hash."""
        return {
            out["path"]: out.get("md5", "")
            for lock in LOCKS
            for stage in self.yaml(lock).get("stages", {}).values()
            for out in stage.get("outs", [])
        }

    def file(self, path: str) -> Path | None:
        """A file that DVC tracks, fetched when needed; None when no cache or remote has it, noted in `missing`."""
        if self.commit is None:
            if Path(path).is_file():
                return Path(path)
            self.missing.append(Missing(path, f"{path} is not in the workspace: run `dvc pull {path}`"))
            return None
        from dvc.exceptions import DvcException

        target = self._folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._dvc().get_file(path, str(target))
        except (OSError, DvcException) as error:
            why = " ".join(str(error).split())[:120] or type(error).__name__
            reason = f"{path} of {self.name}: neither the cache nor a remote has it ({why})"
            self.missing.append(Missing(path, reason))
            return None
        return target

    def _dvc(self) -> Any:
        if self._filesystem is None:
            import dvc.api
            from dvc.config import Config

            # Remotes as they are today: an older commit may lack them, and its relative paths would be taken for
            # places inside git.
            untyped: Any = dvc.api
            config: Any = Config(dvc_dir=".dvc")
            self._filesystem = untyped.DVCFileSystem(".", rev=self.commit, config=config.read())
        return self._filesystem


def _commit(name: str) -> str:
    done = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    if done.returncode:
        # DVC keeps its experiments at refs/exps/<start of the base commit>/<rest of it>/<name>.
        experiments = _git("for-each-ref", "--format=%(objectname)", f"refs/exps/*/*/{name}").stdout.split()
        if len(experiments) == 1:
            return experiments[0]
        raise UserError(
            f"no revision {name!r}.",
            where="git",
            remedy="check the name; a shallow clone lacks history (`git fetch --unshallow`, CI: fetch-depth: 0).",
        )
    return done.stdout.strip()


def _git(*arguments: str) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, encoding="utf-8", check=False)
    except FileNotFoundError:
        raise UserError("git is not installed.", remedy="install git.") from None
