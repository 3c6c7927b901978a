"""Reading and writing where the remotes point: .dvc/config is tracked by git, .dvc/config.local holds the keys."""

import os
import shutil
import subprocess
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from models_under_pressure.core.errors import UserError
from models_under_pressure.remotes.target import REMOTES, Provider, Target

JOBS = 4
"""Files under way at once. DVC's own default, four per core, held 4 GB of memory with 16 cores."""
AWS_CONFIG = "aws.conf"
"""Tracked file in .dvc that turns botocore's checksums off; it holds no secret."""
_LOCAL = "config.local"
_SECRETS = ("access_key_id", "secret_access_key", "session_token")
"""Options of a remote, and attributes of a target, that hold keys."""


def point_remotes(targets: Sequence[Target], *, root: Path) -> Path:
    """Point the remotes at `targets` in .dvc/config.local, which only its owner can read and git ignores.

    Raises:
        UserError: `root` is no DVC project, or git would track the file.
    """
    folder = _dvc_folder(root)
    path = folder / _LOCAL
    _check_ignored(path, root)
    # DVC keeps the mode of a file that exists: made first, the keys are never readable by others
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
    path.chmod(0o600)
    # temporary experiments get a copy of config.local, with the keys and an open mode, below this folder
    (folder / "tmp").mkdir(exist_ok=True)
    (folder / "tmp").chmod(0o700)
    with _edited(folder) as config:
        for target in targets:
            config["remote"][target.name] = _options(target, folder)
    return path


def restore_folders(*, root: Path) -> None:
    """Point the remotes back at what .dvc/config says, and forget the keys."""
    folder = _dvc_folder(root)
    if (folder / _LOCAL).exists():
        with _edited(folder) as config:
            for name in REMOTES:
                config["remote"].pop(name, None)


def read_targets(*, root: Path) -> tuple[Target, ...]:
    """Where the remotes point now.

    Raises:
        UserError: `root` is no DVC project, or a remote is not configured.
    """
    folder = _dvc_folder(root)
    remotes: dict[str, dict[str, Any]] = _config(folder)["remote"]
    absent = [name for name in REMOTES if name not in remotes]
    if absent:
        raise UserError(
            f"no remote named {' or '.join(absent)}.", where=str(folder / "config"), remedy="restore the file with git."
        )
    return tuple(_target(name, remotes[name]) for name in REMOTES)


def default_remote(*, root: Path) -> str | None:
    """The remote of outputs that name none; the run cache is restored from it only."""
    return _config(_dvc_folder(root))["core"].get("remote")


def aws_config_file(*, root: Path) -> str | None:
    """The AWS configuration file that botocore reads below DVC: the user's own comes before the project's."""
    own = os.environ.get("AWS_CONFIG_FILE")
    committed = root / ".dvc" / AWS_CONFIG
    return own or (str(committed) if committed.exists() else None)


def _options(target: Target, folder: Path) -> dict[str, Any]:
    """DVC's options of a remote; `verify` compares every downloaded file with its hash."""
    options: dict[str, Any] = {"url": target.url, "jobs": JOBS, "verify": True}
    if target.url.startswith("s3://"):
        options |= {
            "endpointurl": target.endpoint,
            "region": target.region,
            "profile": target.profile,
            # DVC reads it relative to the working directory and writes it relative to .dvc
            "configpath": os.path.relpath(folder / AWS_CONFIG) if (folder / AWS_CONFIG).exists() else None,
            "allow_anonymous_login": True if target.anonymous else None,
        }
        secrets: dict[str, SecretStr | None] = {key: getattr(target, key) for key in _SECRETS}
        options |= {key: secret.get_secret_value() for key, secret in secrets.items() if secret}
    if not target.url.startswith("http://"):
        options["ssl_verify"] = target.ca_bundle
    return {key: value for key, value in options.items() if value is not None}


def _target(name: str, options: dict[str, Any]) -> Target:
    verify = options.get("ssl_verify")
    return Target(
        name=name,
        url=options["url"],
        provider=_provider(options),
        endpoint=options.get("endpointurl"),
        region=options.get("region"),
        profile=options.get("profile"),
        ca_bundle=verify if isinstance(verify, str) else None,
        anonymous=bool(options.get("allow_anonymous_login")),
        **{key: SecretStr(options[key]) for key in _SECRETS if options.get(key)},
    )


def _provider(options: dict[str, Any]) -> Provider:
    url = str(options["url"])
    if url.startswith(("http://", "https://")) or options.get("allow_anonymous_login"):
        return "public"
    if not url.startswith("s3://"):
        return "folder"
    return "r2" if options.get("region") == "auto" else "s3"


def _dvc_folder(root: Path) -> Path:
    folder = root / ".dvc"
    if not (folder / "config").is_file():
        raise UserError("not a DVC project.", where=str(root.absolute()), remedy="run from the project's folder.")
    return folder


def _config(folder: Path) -> Any:
    from dvc.config import Config, ConfigError

    try:
        return Config(dvc_dir=str(folder))
    except ConfigError as error:
        raise invalid_config(error, folder) from None


def invalid_config(error: BaseException, folder: Path) -> UserError:
    """What is said of a configuration that DVC cannot read; its own message can quote a value, and so a key."""
    return UserError(
        f"not a valid DVC configuration ({type(error).__name__}).",
        where=f"{folder / 'config'} or {folder / _LOCAL}",
        remedy="restore the first with git, or delete the second and run `mup remote` anew.",
    )


@contextmanager
def _edited(folder: Path) -> Generator[Any, None, None]:
    """Change config.local. DVC writes in place: if that fails, on a full disk say, the file is as it was."""
    path, kept = folder / _LOCAL, folder / "tmp" / f"{_LOCAL}.before"
    config = _config(folder)
    (folder / "tmp").mkdir(exist_ok=True)
    try:
        shutil.copy2(path, kept)
        try:
            with config.edit("local") as content:
                yield content
        except BaseException:
            kept.replace(path)
            raise
    finally:
        kept.unlink(missing_ok=True)


def _check_ignored(path: Path, root: Path) -> None:
    """Refuse to write keys where git could pick them up; `git check-ignore` is 1 for a file that git tracks."""
    relative = path.relative_to(root)
    inside = subprocess.run(["git", "rev-parse", "--git-dir"], cwd=root, capture_output=True, check=False)
    ignored = subprocess.run(["git", "check-ignore", "-q", str(relative)], cwd=root, capture_output=True, check=False)
    if inside.returncode == 0 and ignored.returncode != 0:
        raise UserError(
            "git does not ignore this file, and keys would be written to it.",
            where=str(relative),
            remedy="restore .dvc/.gitignore, and `git rm --cached` the file if it is tracked.",
        )
