"""Say where datasets and activations are kept for others: R2, S3 or a folder."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from models_under_pressure.core.display import masked, text_table
from models_under_pressure.remotes.checks import Finding, check_remote, failed
from models_under_pressure.remotes.config import point_remotes, read_targets, restore_folders
from models_under_pressure.remotes.contents import OutputStatus, contents
from models_under_pressure.remotes.contents import repair as mend
from models_under_pressure.remotes.target import Target, load_bucket_settings, public_targets, r2_targets, s3_targets

app = typer.Typer(help="Where datasets and activations are kept for others: R2, S3 or a folder.", no_args_is_help=True)

_SHOWN = 8
"""Outputs named in a list of what is lost or damaged, unless all are asked for."""

_MARKS = {"ok": "ok", "note": "note", "failure": "FAIL"}

_Offline = Annotated[bool, typer.Option("--offline", help="Change the configuration without trying it.")]


@app.command()
def r2(offline: _Offline = False) -> None:
    """Keep both remotes on Cloudflare R2, with the keys of .env, after trying them.

    The keys are written to .dvc/config.local, which git ignores and only you can read.

    Example: mup remote r2
    """
    _point(r2_targets(load_bucket_settings()), offline=offline)


@app.command()
def s3(offline: _Offline = False) -> None:
    """Keep both remotes on AWS S3, or on a compatible server (S3_ENDPOINT_URL in .env).

    Example: mup remote s3
    """
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
    settings = load_bucket_settings()
    endpoint, bundle = settings.s3_endpoint_url, settings.aws_ca_bundle
    _point(public_targets(datasets, activations, endpoint=endpoint, ca_bundle=bundle), offline=offline)


@app.command()
def local() -> None:
    """Put both remotes back to the folders of .dvc/config, and forget the keys.

    Example: mup remote local
    """
    restore_folders(root=Path())
    _print_targets(read_targets(root=Path()))


@app.command()
def test() -> None:
    """Try all that DVC will do: reach the bucket, list, write, read; say what each failure means.

    Example: mup remote test
    """
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
    mended = mend(root=Path(), paths=paths or ())
    for output in mended:
        print(f"uploaded {output.path} to {output.remote}")
    if not mended:
        print("nothing is damaged")


def _point(targets: Sequence[Target], *, offline: bool) -> None:
    if not offline and not _try(targets):
        print("\nnothing was changed; `--offline` writes the configuration untried")
        raise typer.Exit(1)
    print(f"wrote {point_remotes(targets, root=Path())}")
    _print_targets(targets)


def _try(targets: Sequence[Target]) -> bool:
    """Whether all targets work."""
    everything: list[Finding] = []
    for target in targets:
        print(target.name)
        everything += print_findings(check_remote(target, root=Path()))
    return not failed(everything)


def print_findings(findings: Iterable[Finding]) -> list[Finding]:
    """Print each finding as it comes, its remedy below it, and return all."""
    seen: list[Finding] = []
    for finding in findings:
        print(f"  {_MARKS[finding.state]:5} {finding.topic:12} {finding.detail}", flush=True)
        if finding.remedy:
            print(f"  {'':18} -> {finding.remedy}", flush=True)
        seen.append(finding)
    return seen


def _print_targets(targets: Sequence[Target]) -> None:
    for target in targets:
        place = f" at {target.endpoint}" if target.endpoint else ""
        print(f"{target.name:12} {masked(target.url + place)}")


def _print_counts(statuses: list[OutputStatus]) -> None:
    rows: list[list[object]] = []
    for remote in sorted({status.output.remote for status in statuses}):
        mine = [status for status in statuses if status.output.remote == remote]
        safe, cached = sum(status.stored == "whole" for status in mine), sum(status.cached for status in mine)
        rows.append([remote, len(mine), f"{sum(status.output.size for status in mine):,}", safe, cached])
    print("\n" + text_table(("remote", ">outputs", ">bytes", ">safe there", ">in cache"), rows), end="")


def _print_problems(statuses: list[OutputStatus], *, shown: int) -> None:
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
