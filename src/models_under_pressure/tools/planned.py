"""What the run that params.yaml describes needs: its model, and space."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from models_under_pressure.commands.model_access import model_access
from models_under_pressure.core.errors import UserError
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
    from models_under_pressure.core.settings import load_settings
    from models_under_pressure.params.lineage import load_lineage
    from models_under_pressure.params.schema import load_params
    from models_under_pressure.stages.paths import layer_store_path, store_path

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
    alias = params.model.name
    probed = {
        name: (root / dataset.path, root / store_path(alias, name, params.probe.layer))
        for name, dataset in lineage.datasets.items()
    }
    compared = {
        f"layer {layer} for choose_layer": (
            root / lineage.datasets["train"].path,
            root / layer_store_path(alias, layer),
        )
        for layer in params.choose_layer.layers
    }
    estimates = [
        estimate_stores(stores, hidden=model.hidden, max_tokens=params.extract.max_tokens, per_token=keep == "tokens")
        for stores, keep in ((probed, params.extract.keep), (compared, params.choose_layer.keep))
    ]
    yield from _space(_together(estimates), download=model.download, root=root)
    yield _shelf(root)


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


def _together(estimates: Sequence[StoreEstimate]) -> StoreEstimate:
    return StoreEstimate(
        bytes=sum(estimate.bytes for estimate in estimates),
        existing=sum(estimate.existing for estimate in estimates),
        planned=sum(estimate.planned for estimate in estimates),
        unknown=tuple(name for estimate in estimates for name in estimate.unknown),
    )


def _shelf(root: Path) -> Finding:
    """The folder outside the project where `extract` makes stores; on the project's disk they are links."""
    from models_under_pressure.stages.extract import shelf_path

    shelf = shelf_path()
    near = next(place for place in (shelf, *shelf.absolute().parents) if place.is_dir())
    size = sum(path.stat().st_size for path in shelf.rglob("*") if path.is_file()) if shelf.is_dir() else 0
    detail = f"{shelf}, {size / _GIB:.2f} GiB"
    if near.stat().st_dev == root.stat().st_dev:
        return Finding("shelf", "ok", f"{detail}: stores are linked into the project; may be deleted")
    free = shutil.disk_usage(near).free / _GIB
    remedy = "set MUP_STORES to a folder on the project's disk to save one copy"
    return Finding("shelf", "note", f"{detail}, on another disk ({free:.1f} GiB free): one more copy of stores", remedy)


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
