"""The sources by name."""

from collections.abc import Callable
from pathlib import Path

from models_under_pressure.datasets.files import Parsed
from models_under_pressure.datasets.sources import anthropic, aya, mental_health, mt, mts, toolace

PARSERS: dict[str, Callable[[Path], Parsed]] = {
    "anthropic": anthropic.parse,
    "mt": mt.parse,
    "mts": mts.parse,
    "toolace": toolace.parse,
    "mental_health": mental_health.parse,
    "aya": aya.parse,
}
