"""Reading what a review needs of one revision, from git, dvc.lock and DVC's cache or remotes."""

import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import read_jsonl

if TYPE_CHECKING:
    from models_under_pressure.review.snapshot import Cost, Row, Snapshot

WORKSPACE = "workspace"

_DATASETS = ("data/evals/", "data/training/", "data/deployment/")
_SCORES = "data/results/scores/"
_REPLIES = "data/replies/"


class Revision:
    """A commit or the workspace, whose tracked files can be read as paths."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.commit = None if name == WORKSPACE else _commit(name)
        self._folder = folder
        self._filesystem: Any = None
        self.missing: list[str] = []

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
            return YAML(typ="safe").load(self.text(path)) or {}
        except YAMLError as error:
            raise UserError(
                f"not YAML ({' '.join(str(error).split())}).",
                where=f"{self.name}:{path}",
                remedy="solve merge conflicts first.",
            ) from None

    def outputs(self) -> dict[str, str]:
        """Path of every output in dvc.lock -> content hash."""
        stages = self.yaml("dvc.lock").get("stages", {})
        return {out["path"]: out.get("md5", "") for stage in stages.values() for out in stage.get("outs", [])}

    def file(self, path: str) -> Path | None:
        """A file that DVC tracks, fetched when needed; None when no cache or remote has it, noted in `missing`."""
        if self.commit is None:
            if Path(path).is_file():
                return Path(path)
            self.missing.append(f"{path} is not in the workspace: run `dvc pull {path}`")
            return None
        from dvc.exceptions import DvcException

        target = self._folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._dvc().get_file(path, str(target))
        except (OSError, DvcException) as error:
            reason = " ".join(str(error).split())[:120] or type(error).__name__
            self.missing.append(f"{path} of {self.name}: neither the cache nor a remote has it ({reason})")
            return None
        return target

    def _dvc(self) -> Any:
        if self._filesystem is None:
            from dvc.api import DVCFileSystem
            from dvc.config import Config

            # Remotes as they are today: an older commit may lack them, and its relative paths would be taken for
            # places inside git.
            config: Any = Config(dvc_dir=".dvc").read()
            self._filesystem = DVCFileSystem(".", rev=self.commit, config=config)
        return self._filesystem


@contextmanager
def two_snapshots(before: str, after: str) -> "Iterator[tuple[Snapshot, Snapshot]]":
    """Read two revisions; dataset rows and replies only where their hashes differ.

    Raises:
        UserError: a revision does not exist, or one of its files is malformed.
    """
    with tempfile.TemporaryDirectory() as folder:
        first, second = Revision(before, Path(folder, "before")), Revision(after, Path(folder, "after"))
        outputs = first.outputs(), second.outputs()
        changed = {path for path in {**outputs[0], **outputs[1]} if outputs[0].get(path) != outputs[1].get(path)}
        yield _snapshot(first, outputs[0], changed), _snapshot(second, outputs[1], changed)


def _snapshot(revision: Revision, outputs: Mapping[str, str], changed: set[str]) -> "Snapshot":
    from models_under_pressure.core.yaml import dotted
    from models_under_pressure.evaluation.scores import ScoreList, read_scores
    from models_under_pressure.review.snapshot import Snapshot

    if not outputs:
        revision.missing.append(f"{revision.name} has no dvc.lock: nothing had been run there")
    params, lineage = revision.yaml("params.yaml"), revision.yaml("data/versions.yaml")
    files = {path: hash_ for path, hash_ in outputs.items() if path.startswith(_DATASETS) and path.endswith(".jsonl")}
    datasets = lineage.get("datasets", {})
    scores: list[ScoreList] = []
    for path in sorted(path for path in outputs if path.startswith(_SCORES)):
        if (found := revision.file(path)) is not None:
            scores += read_scores(found)
    overlap = _json(revision, "metrics/overlap.json")
    return Snapshot(
        name=revision.name,
        commit=revision.commit,
        params=dotted(params) | dotted(lineage),
        files=files,
        rows={path: rows for path in sorted(files.keys() & changed) if (rows := _rows(revision, path)) is not None},
        datasets={name: dataset["path"] for name, dataset in datasets.items()},
        purposes={name: dataset["purpose"] for name, dataset in datasets.items()},
        scores=scores,
        metrics=_json(revision, "metrics/evaluate.json"),
        overlap={name: found["pairs"] for name, found in overlap.items()},
        costs=_costs(revision, sorted(path for path in outputs.keys() & changed if path.startswith(_REPLIES)), params),
        missing=revision.missing,
    )


def _rows(revision: Revision, path: str) -> "dict[str, Row] | None":
    from models_under_pressure.core.records import read_records
    from models_under_pressure.review.snapshot import rows_of

    found = revision.file(path)
    return None if found is None else rows_of(read_records(found))


def _costs(revision: Revision, paths: list[str], params: Mapping[str, Any]) -> "dict[str, dict[str, Cost]]":
    from models_under_pressure.llm.config import Price
    from models_under_pressure.llm.cost import cost_of
    from models_under_pressure.llm.reply import from_row
    from models_under_pressure.review.snapshot import Cost

    asked = params.get("llm", {})
    table = asked.get("prices") or {}
    price = Price.model_validate(table[asked["model"]]) if asked.get("model") in table else None
    costs: dict[str, dict[str, Cost]] = {}
    for path in paths:
        found = revision.file(path)
        for _, row in read_jsonl(found) if found else ():
            usage = from_row(row).usage
            tokens = (usage.input_tokens, usage.output_tokens) if usage else (0, 0)
            costs.setdefault(Path(path).stem, {})[row["key"]] = Cost(1, *tokens, cost_of(usage, price))
    return costs


def _json(revision: Revision, path: str) -> dict[str, Any]:
    import json

    try:
        return json.loads(revision.text(path) or "{}")
    except ValueError:
        raise UserError("not JSON.", where=f"{revision.name}:{path}", remedy="solve merge conflicts first.") from None


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
