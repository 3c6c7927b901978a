"""Stage `prompt_baseline`: ask one model for the stakes of every dev and test conversation."""

from collections.abc import Mapping
from pathlib import Path

from models_under_pressure.baselines.data import read_labelled
from models_under_pressure.baselines.prompted import PromptedMonitor, choose_template
from models_under_pressure.baselines.prompted_config import PromptConfig
from models_under_pressure.baselines.prompted_scores import to_list
from models_under_pressure.core.files import write_json
from models_under_pressure.core.settings import load_settings
from models_under_pressure.evaluation.scores import write_scores
from models_under_pressure.stages.paths import RESULTS, scores_path, timing_path


def run(
    name: str, *, model: str, config: PromptConfig, dev: Mapping[str, Path], test: Mapping[str, Path], seed: int
) -> None:
    """Try every wording on the dev sets, and write the scores of all sets with the best one.

    Args:
        name: of the monitor, `prompted_<name>` in results.
        model: Hugging Face id or path of the model.
        config: how it is asked.
        dev: name -> labelled records on which the wording is chosen.
        test: name -> labelled records that are scored with the chosen wording only.
        seed: that the scores are filed under; nothing is drawn.
    """
    token = load_settings().hf_token
    folder = RESULTS / "prompted" / name
    monitor = PromptedMonitor(config, folder, model=model, token=token.get_secret_value() if token else None)
    method = f"prompted_{name}"
    chosen, aurocs = choose_template(
        monitor.score, [read_labelled(one, path) for one, path in dev.items()], config.templates
    )
    write_json(folder / "choice.json", {"chosen": chosen, "auroc": aurocs})
    timing = {}
    for one, path in {**dev, **test}.items():
        data = read_labelled(one, path)
        scores = monitor.score(data, chosen)
        write_scores(scores_path(one, method), [to_list(data, scores, method, seed=seed)])
        if scores.seconds is not None:
            timing[one] = {method: {"seconds": scores.seconds, "records": len(data.records)}}
    write_json(timing_path(method), timing)
