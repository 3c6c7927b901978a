"""Where the files of a dataset version lie."""

from dataclasses import dataclass
from pathlib import Path

from models_under_pressure.core.errors import UserError
from models_under_pressure.core.files import read_json
from models_under_pressure.core.records import Record, read_records, write_records
from models_under_pressure.datasets.splits import SPLITS, Splits

EVALS = Path("data/evals")


def version_folder(dataset: str, version: str) -> Path:
    """Folder of a version: a raw and a balanced file per split, and a manifest."""
    return EVALS / f"{dataset}_{version}"


@dataclass(frozen=True, slots=True)
class MadeVersion:
    """A dataset version that is on disk."""

    dataset: str
    """Name of the source."""
    version: str
    """Name of the version, as in file names."""
    splits: tuple[str, ...]
    """Names of its splits."""

    @property
    def key(self) -> str:
        """Name of its folder and of its entry in data/versions.yaml."""
        return f"{self.dataset}_{self.version}"

    def path(self, split: str, *, kind: str = "raw") -> Path:
        """File of one split; see `split_path`."""
        return split_path(self.dataset, self.version, split, kind=kind)


def made_versions() -> list[MadeVersion]:
    """The versions in data/evals, by name; parsed sources, which have no labels, are not among them."""
    found = []
    for manifest in sorted(EVALS.glob("*/manifest.json")):
        told = read_json(manifest)
        if "parent" in told:
            splits = tuple(split for split in SPLITS if split_path(told["dataset"], told["version"], split).is_file())
            found.append(MadeVersion(told["dataset"], told["version"], splits))
    return found


def split_path(dataset: str, version: str, split: str, *, kind: str = "raw") -> Path:
    """Path of one split of a version; `kind` is `raw` or `balanced`."""
    name = dataset if split == "dev" else f"{dataset}_test"
    return version_folder(dataset, version) / f"{name}_{kind}_{version}.jsonl"


def manifest_path(dataset: str, version: str) -> Path:
    """Path of a version's manifest."""
    return version_folder(dataset, version) / "manifest.json"


def read_splits(dataset: str, version: str, *, splits: tuple[str, ...], kind: str = "raw") -> Splits:
    """Read a version's splits; a split not named is empty."""
    read: dict[str, list[Record]] = {
        split: read_records(split_path(dataset, version, split, kind=kind)) for split in splits
    }
    return Splits(dev=read.get("dev", ()), test=read.get("test", ()))


def write_version(raw: Splits, balanced: Splits, dataset: str, version: str, *, splits: tuple[str, ...]) -> None:
    """Write the raw and the balanced file of each split.

    Raises:
        UserError: a file would be empty; nothing is written then.
    """
    files = {
        split_path(dataset, version, split, kind=kind): rows
        for kind, part in (("raw", raw), ("balanced", balanced))
        for split, rows in part.items()
        if split in splits
    }
    for path, rows in files.items():
        if not rows:
            raise UserError(
                "no rows would be left.",
                where=str(path),
                remedy="relax the steps of this version in data/versions.yaml, or its labels' thresholds.",
            )
    for path, rows in files.items():
        write_records(path, rows)


def splits_of(*, test_only: bool) -> tuple[str, ...]:
    """The names of a dataset's splits."""
    return ("test",) if test_only else SPLITS
