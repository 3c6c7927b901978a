"""Secrets and paths of this machine, from the environment or `.env`; and the curves of training, which need a key."""

import os
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from dotenv import find_dotenv
from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from models_under_pressure.core.errors import UserError

CURVES = Path("plots/curves")
WANDB_PROJECT = "models-under-pressure"
"""Project in Weights & Biases, unless WANDB_PROJECT names another."""

Values = Mapping[str, float]
"""Name of a metric -> its value after an epoch."""

Watch = Callable[[int, Values], None]
"""Told the number of each epoch, from 1, and its values."""


class Settings(BaseSettings):
    """Secrets and paths; every one may be absent. An empty variable counts as absent.

    HF_TOKEN and HF_HOME are not here: Hugging Face's libraries read them from the environment; see `cli`.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_file_encoding="utf-8")

    openai_api_key: SecretStr | None = None
    open_router_api_key: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("OPEN_ROUTER_API_KEY", "OPENROUTER_API_KEY")
    )
    r2_access_key_id: SecretStr | None = None
    r2_secret_access_key: SecretStr | None = None
    r2_datasets_bucket: str | None = None
    r2_activations_bucket: str | None = None
    r2_account_id: str | None = None
    activations_dir: Path | None = None
    wandb_api_key: SecretStr | None = None

    @field_validator("*", mode="before")
    @classmethod
    def _empty_is_absent(cls, value: object) -> object:
        return None if isinstance(value, str) and not value.strip() else value


S = TypeVar("S", bound="Settings")


def read_settings(schema: type[S]) -> S:
    """Read some settings from the environment, then the nearest `.env` at or above the working directory.

    Raises:
        UserError: the file cannot be read, or a value is not of its kind. No value is shown: it may be a secret.
    """
    file = find_dotenv(usecwd=True)
    try:
        return schema(_env_file=file or None)  # pyright: ignore[reportCallIssue] pydantic's argument
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = ".".join(map(str, first["loc"])).upper()
        remedy = f"correct {name} in the environment, or in {file or '.env'}."
        raise UserError(f"{name}: {first['msg']}.", remedy=remedy) from None
    except ValueError:  # not UTF-8, or a byte that no variable can hold
        raise UserError("not a text file in UTF-8.", where=file, remedy="save it as UTF-8.") from None


def load_settings() -> Settings:
    """Read the environment, then the nearest `.env` at or above the working directory.

    DVC runs temporary experiments in a folder below the project, where a plain `.env` would not be found.
    """
    return read_settings(Settings)


def curve(
    stage: str, name: str, seed: int, config: Mapping[str, Any], settings: Settings
) -> AbstractContextManager[Watch]:
    """Follow the training of one model from one seed.

    Raises:
        UserError: see `tracked`.
    """
    run, key = f"{stage}/{name}/seed_{seed}", settings.wandb_api_key
    return tracked(CURVES / run, run, {**config, "seed": seed}, wandb_key=key.get_secret_value() if key else None)


@contextmanager
def tracked(
    folder: Path, run: str, settings: Mapping[str, Any], *, wandb_key: str | None = None
) -> Generator[Watch, None, None]:
    """Write the curve of one training run; what stood in the folder before goes.

    Files are the same in every run of the same training: they hold epochs and values, no times.

    Args:
        folder: folder that gets one TSV file of `step` and value per metric.
        run: name of the run in Weights & Biases.
        settings: hyper-parameters shown there.
        wandb_key: key of Weights & Biases; without it nothing of that library is imported.

    Raises:
        UserError: there is a key, but the library is missing.
    """
    from dvclive.live import Live

    with ExitStack() as stack:
        # the pipeline declares the files: DVCLive is to save no experiment, no dvc.yaml and no report of its own
        live = stack.enter_context(Live(str(folder), save_dvc_exp=False, dvcyaml=None))
        sent = stack.enter_context(_wandb(run, settings, wandb_key)) if wandb_key else None

        def watch(epoch: int, values: Values) -> None:
            live.step = epoch
            for name, value in values.items():
                live.log_metric(name, value)
            if sent is not None:
                sent.log(dict(values), step=epoch)

        yield watch
    (folder / "metrics.json").unlink(missing_ok=True)  # the last epoch's values, which are not those of the best


def _wandb(run: str, settings: Mapping[str, Any], key: str) -> Any:
    """A run of Weights & Biases, as a context."""
    if find_spec("wandb") is None:
        raise UserError(
            "WANDB_API_KEY is set, but Weights & Biases is not installed.",
            remedy="`pip install 'models-under-pressure[wandb]'`, or unset the variable.",
        )
    import wandb

    os.environ.setdefault("WANDB_API_KEY", key)  # the library's own way; it may stand in .env only
    os.environ.setdefault("WANDB_SILENT", "true")
    project = os.environ.get("WANDB_PROJECT", WANDB_PROJECT)
    return wandb.init(project=project, name=run, config=dict(settings))
