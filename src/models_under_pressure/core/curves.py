"""Where stages leave the curves of what they train."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from models_under_pressure.core.settings import Settings
from models_under_pressure.core.tracking import Watch, tracked

CURVES = Path("plots/curves")


def curve(
    stage: str, name: str, seed: int, config: Mapping[str, Any], settings: Settings
) -> AbstractContextManager[Watch]:
    """Follow the training of one model from one seed.

    Raises:
        UserError: see `tracked`.
    """
    key = settings.wandb_api_key
    return tracked(
        CURVES / stage / name / f"seed_{seed}",
        f"{stage}/{name}/seed_{seed}",
        {**config, "seed": seed},
        wandb_key=key.get_secret_value() if key else None,
    )
