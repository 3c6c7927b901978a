"""What the run that params.yaml describes needs: its model, and space."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from models_under_pressure.commands.model_access import model_access
from models_under_pressure.errors import UserError
from models_under_pressure.remotes.finding import Finding

_CHARACTERS_PER_TOKEN = 3.5
"""A cautious average: English prose has 4 to 4.5, code and tables fewer."""
_BYTES_PER_VALUE = 2
_GIB = 2**30


@dataclass(frozen=True)
class StoreEstimate:
    """Space for the activations of the datasets in use."""

    bytes: int
    """One copy of the stores that do not exist yet; rounded up by the cautious token count."""
    existing: int
    """Stores that exist."""
    planned: int
    """Stores to be made whose dataset exists."""
    unknown: tuple[str, ...]
    """Datasets that do not exist yet."""


def planned_run(*, root: Path, offline: bool) -> Iterator[Finding]:
    """Whether the model can be had, and whether the free space is enough for it and the stores."""
    from models_under_pressure.params.lineage import load_lineage
    from models_under_pressure.params.schema import load_params
    from models_under_pressure.settings import load_settings
    from models_under_pressure.stages.paths import store_path

    try:
        params, lineage = load_params(root / "params.yaml"), load_lineage(root / "data/versions.yaml")
    except UserError as error:
        yield Finding("params", "failure", f"{error.where or ''} {error.problem}".strip(), error.remedy)
        return
    token = load_settings().hf_token
    model = model_access(params.resolved_model, token=token.get_secret_value() if token else None, offline=offline)
    yield model.finding
    if model.hidden is None:
        yield Finding("space", "note", "unknown, since the model's width is unknown", "see the line above")
        return
    estimate = estimate_stores(
        {
            name: (root / dataset.path, root / store_path(params.model.name, name, params.probe.layer))
            for name, dataset in lineage.datasets.items()
        },
        hidden=model.hidden,
        max_tokens=params.extract.max_tokens,
        per_token=params.extract.keep == "tokens",
    )
    yield from _space(estimate, download=model.download, root=root)


def estimate_stores(
    datasets: dict[str, tuple[Path, Path]], *, hidden: int, max_tokens: int, per_token: bool
) -> StoreEstimate:
    """Estimate the stores of datasets, each given as (file, path of its store)."""
    size, existing, planned, unknown = 0, 0, 0, []
    for name, (file, store) in sorted(datasets.items()):
        if store.exists():
            existing += 1
        elif file.exists():
            planned += 1
            size += _rows(file, max_tokens=max_tokens, per_token=per_token) * hidden * _BYTES_PER_VALUE
        else:
            unknown.append(name)
    return StoreEstimate(bytes=size, existing=existing, planned=planned, unknown=tuple(unknown))


def _rows(file: Path, *, max_tokens: int, per_token: bool) -> int:
    """Rows of a store: tokens, or records. A line's markup is counted with its text."""
    with file.open("rb") as stream:
        if not per_token:
            return sum(1 for _ in stream)
        return sum(min(max_tokens, int(len(line) / _CHARACTERS_PER_TOKEN) + 1) for line in stream)


def _space(estimate: StoreEstimate, *, download: int, root: Path) -> Iterator[Finding]:
    from models_under_pressure.remotes.cache import cache_state

    state = cache_state(root=root)
    needs = {"stores": estimate.bytes * state.copies, "model": download}
    detail = (
        f"about {sum(needs.values()) / _GIB:.2f} GiB: {estimate.planned} stores to make "
        f"({needs['stores'] / _GIB:.2f} GiB, counted {state.copies}x for {state.used} links), "
        f"model {download / _GIB:.2f} GiB; {estimate.existing} stores exist"
    )
    free = min(state.free, state.free_workspace, shutil.disk_usage(root).free)
    if sum(needs.values()) > free:
        remedy = "free some, move the cache (`dvc cache dir --local`), or see `Links` in docs/remotes.md"
        yield Finding("space", "failure", f"{detail}; only {free / _GIB:.2f} GiB are free", remedy)
    else:
        yield Finding("space", "ok", f"{detail}; {free / _GIB:.1f} GiB free")
    if estimate.unknown:
        listed = ", ".join(estimate.unknown)
        yield Finding("space", "note", f"not counted, since not made yet: {listed}", "`dvc repro relabel`, then again")
