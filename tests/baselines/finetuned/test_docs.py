"""The settings that the documentation gives are settings that the code takes."""

import re
from pathlib import Path

from ruamel.yaml import YAML

from models_under_pressure.experiments.finetune_baseline import FinetuneBaseline


def test_the_papers_entries_can_be_copied_into_params():
    text = (Path(__file__).parents[3] / "docs/finetuned.md").read_text("utf-8")
    (block,) = re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)
    models = FinetuneBaseline.model_validate({"models": YAML(typ="safe").load(block)}).models
    assert set(models) == {"llama1", "llama8", "gemma12"}
    assert models["llama8"].optimiser == "adamw8bit"
