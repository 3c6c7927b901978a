"""Say where datasets and activations are kept for others: R2, S3 or a folder."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models_under_pressure.remotes.contents import OutputStatus
    from models_under_pressure.remotes.target import Target

app = typer.Typer(help="Where datasets and activations are kept for others: R2, S3 or a folder.", no_args_is_help=True)

_SHOWN = 8
"""Outputs named in a list of what is lost or damaged, unless all are asked for."""

_Offline = Annotated[bool, typer.Option("--offline", help="Change the configuration without trying it.")]


@app.command()
def r2(offline: _Offline = False) -> None:
    """Keep both remotes on Cloudflare R2, with the keys of .env, after trying them.

    The keys are written to .dvc/config.local, which git ignores and only you can read.

    Example: mup remote r2
    """
    from models_under_pressure.remotes.target import load_bucket_settings, r2_targets

    _point(r2_targets(load_bucket_settings()), offline=offline)


@app.command()
def s3(offline: _Offline = False) -> None:
    """Keep both remotes on AWS S3, or on a compatible server (S3_ENDPOINT_URL in .env).

    Example: mup remote s3
    """
    from models_under_pressure.remotes.target import load_bucket_settings, s3_targets

    _point(s3_targets(load_bucket_settings()), offline=offline)


@app.command()
def public(
    datasets: Annotated[str, typer.Argument(metavar="DATASETS_URL", help="https:// or s3:// address of datasets.")],
    activations: Annotated[str, typer.Argument(metavar="ACTIVATIONS_URL", help="The same of activations.")],
    offline: _Offline = False,
) -> None:
    """Read both remotes from public addresses, without keys.

    Example: mup remote public https://datasets.example.org/dvc https://activations.example.org/dvc
    """
    from models_under_pressure.remotes.target import load_bucket_settings, public_targets

    settings = load_bucket_settings()
    endpoint, bundle = settings.s3_endpoint_url, settings.aws_ca_bundle
    _point(public_targets(datasets, activations, endpoint=endpoint, ca_bundle=bundle), offline=offline)


@app.command()
def local() -> None:
    """Put both remotes back to the folders of .dvc/config, and forget the keys.

    Example: mup remote local
    """
    from models_under_pressure.remotes.config import read_targets, restore_folders

    restore_folders(root=Path())
    _print_targets(read_targets(root=Path()))


@app.command()
def test() -> None:
    """Try all that DVC will do: reach the bucket, list, write, read; say what each failure means.

    Example: mup remote test
    """
    from models_under_pressure.remotes.config import read_targets

    if not _try(read_targets(root=Path())):
        raise typer.Exit(1)


@app.command()
def status(
    all_tags: Annotated[bool, typer.Option("--all-tags", help="Also what the tags of git name.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Only say where the remotes point.")] = False,
    every: Annotated[bool, typer.Option("--all", help="Name every output that is lost or damaged.")] = False,
) -> None:
    """Say where the remotes point, and which results are safe on them. Status 1 if something is lost or damaged.

    Example: mup remote status
    """
    from models_under_pressure.remotes.config import read_targets
    from models_under_pressure.remotes.contents import contents

    _print_targets(read_targets(root=Path()))
    if offline:
        return
    statuses = contents(root=Path(), all_tags=all_tags)
    _print_counts(statuses)
    _print_problems(statuses, shown=len(statuses) if every else _SHOWN)
    if any(status.lost or status.stored == "damaged" for status in statuses):
        raise typer.Exit(1)


@app.command()
def repair(
    paths: Annotated[
        list[str] | None, typer.Argument(help="Outputs to upload anew, whatever their size there.")
    ] = None,
) -> None:
    """Upload anew what is damaged on the remotes, from this machine's cache; `dvc push` never replaces a file.

    Example: mup remote repair data/probes/mean
    """
    from models_under_pressure.remotes.contents import repair as mend

    mended = mend(root=Path(), paths=paths or ())
    for output in mended:
        print(f"uploaded {output.path} to {output.remote}")
    if not mended:
        print("nothing is damaged")


def _point(targets: "Sequence[Target]", *, offline: bool) -> None:
    from models_under_pressure.remotes.config import point_remotes

    if not offline and not _try(targets):
        print("\nnothing was changed; `--offline` writes the configuration untried")
        raise typer.Exit(1)
    print(f"wrote {point_remotes(targets, root=Path())}")
    _print_targets(targets)


def _try(targets: "Sequence[Target]") -> bool:
    """Whether all targets work."""
    from models_under_pressure.remotes.checks import check_remote, failed
    from models_under_pressure.tools._inputs import print_findings

    everything = []
    for target in targets:
        print(target.name)
        everything += print_findings(check_remote(target, root=Path()))
    return not failed(everything)


def _print_targets(targets: "Sequence[Target]") -> None:
    for target in targets:
        place = f" at {target.endpoint}" if target.endpoint else ""
        print(f"{target.name:12} {target.url}{place}")


def _print_counts(statuses: "list[OutputStatus]") -> None:
    print(f"\n{'remote':12} {'outputs':>8} {'bytes':>16} {'safe there':>11} {'in cache':>9}")
    for remote in sorted({status.output.remote for status in statuses}):
        mine = [status for status in statuses if status.output.remote == remote]
        safe, cached = sum(status.stored == "whole" for status in mine), sum(status.cached for status in mine)
        size = sum(status.output.size for status in mine)
        print(f"{remote:12} {len(mine):>8} {size:>16,} {safe:>11} {cached:>9}")


def _print_problems(statuses: "list[OutputStatus]", *, shown: int) -> None:
    lost = [status.output for status in statuses if status.lost]
    damaged = [status.output for status in statuses if not status.lost and status.stored == "damaged"]
    for output in lost[:shown]:
        print(f"lost: {output.path} is neither whole on {output.remote} nor in the cache")
    for output in damaged[:shown]:
        print(f"damaged: {output.path} has another size on {output.remote}")
    hidden = max(len(lost) - shown, 0) + max(len(damaged) - shown, 0)
    if hidden:
        print(f"and {hidden} more: `mup remote status --all` names them")
    if lost:
        print(
            "Remedy for what is lost: push from a machine that has it; `dvc commit` where the project still has it; "
            "or `dvc repro`."
        )
    if damaged:
        print("Remedy for what is damaged: `mup remote repair`.")
    waiting = sum(status.cached and status.stored in ("absent", "part") for status in statuses)
    if waiting:
        print(f"{waiting} outputs are not on their remote yet: `dvc push`.")
