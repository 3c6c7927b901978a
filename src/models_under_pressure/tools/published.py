"""`mup datasets download` and `mup datasets use`: the paper's published files in the place of one's own."""

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from models_under_pressure.params.published import Catalog

_REPORTS = Path("data/published/reports")


def download(
    files: Annotated[list[str] | None, typer.Argument(help="Files of published/catalog.yaml; all if none.")] = None,
    origin: Annotated[Literal["r2", "hub"], typer.Option("--from", help="Cloudflare R2 or Hugging Face.")] = "r2",
    pin: Annotated[bool, typer.Option(help="Write the hashes of what came into published/catalog.yaml.")] = False,
) -> None:
    """Fetch the paper's final files as stages of published/dvc.yaml: verified, converted, repairs reported.

    Example: mup datasets download --from hub
    """
    from models_under_pressure.core.errors import UserError
    from models_under_pressure.params.published import SELECTED_PATH, load_catalog

    catalog = load_catalog()
    keys = files or list(catalog.files)
    selected = {key: catalog.select(key, origin).model_dump(mode="json") for key in keys}
    _edit(SELECTED_PATH, lambda content: content.update(selected={**content["selected"], **selected}))
    command = [sys.executable, "-m", "dvc", "repro", "published/dvc.yaml"]
    if subprocess.run(command).returncode:
        raise UserError(
            "not every file could be fetched.",
            where="published/dvc.yaml",
            remedy="see the messages above; run the command again, and what is there already is not fetched again.",
        )
    reports = {key: _report(key) for key in keys}
    if pin:
        _edit(Path("published/catalog.yaml"), lambda content: _pin(content, reports, origin))
    print(_table(catalog, reports), end="")


def use(
    which: Annotated[
        Literal["published", "versions"], typer.Argument(help="The paper's files, or those that the recipes make.")
    ],
) -> None:
    """Point the datasets in use (data/versions.yaml) at the paper's files, or back at the latest versions.

    Example: mup datasets use published
    """
    from models_under_pressure.params.lineage import LINEAGE_PATH, latest_paths, load_lineage
    from models_under_pressure.params.published import load_catalog, load_selected

    lineage = load_lineage()
    if which == "published":
        selected = load_selected()
        paths = {
            file.used_as: f"data/published/{file.to}"
            for key, file in load_catalog().files.items()
            if file.used_as and key in selected
        }
    else:
        paths = latest_paths(lineage)
    changed = {name: path for name, path in paths.items() if name in lineage.datasets}
    _edit(LINEAGE_PATH, lambda content: [content["datasets"][name].update(path=path) for name, path in changed.items()])
    for name, dataset in lineage.datasets.items():
        print(f"{name:20} {changed.get(name, dataset.path)}")


def _edit(path: Path, change: Any) -> None:
    """Change a YAML file as DVC does, with its comments."""
    from dvc.utils.serialize import modify_yaml

    with modify_yaml(path) as content:
        change(content)


def _pin(content: Any, reports: dict[str, dict[str, Any]], origin: str) -> None:
    for key, report in reports.items():
        content["files"][key][origin]["sha256"] = report["sha256"]


def _report(key: str) -> dict[str, Any]:
    from models_under_pressure.core.files import read_json

    return read_json(_REPORTS / f"{key}.json")


def _table(catalog: "Catalog", reports: dict[str, dict[str, Any]]) -> str:
    from models_under_pressure.core.records import read_records
    from models_under_pressure.datasets.consistency import inconsistencies

    lines = [f"{'file':28}{'rows':>7}{'high':>7}{'low':>7}{'ambiguous':>11}  repaired"]
    for key, report in reports.items():
        labels = report["labels"]
        counts = "".join(f"{labels[name]:>{width}}" for name, width in _COLUMNS)
        repaired = ", ".join(f"{name} {count}" for name, count in report["repaired"].items()) or "nothing"
        lines.append(f"{key:28}{report['rows']:>7}{counts}  {repaired}")
    for key in reports:
        raw = key.replace("_balanced", "_raw")
        if raw != key and raw in reports:
            paths = [Path("data/published") / catalog.files[name].to for name in (raw, key)]
            lines += [f"{key}: {problem}" for problem in inconsistencies(*map(read_records, paths))]
    return "\n".join(lines) + "\n"


_COLUMNS = (("high-stakes", 7), ("low-stakes", 7), ("ambiguous", 11))
