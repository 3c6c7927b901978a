"""Stage `choose_layer`: cross-validate a probe on several layers."""

from collections.abc import Mapping

from models_under_pressure.core.files import write_json
from models_under_pressure.experiments.choose_layer import Rule, pick, score_layers
from models_under_pressure.probes.config import ProbeConfig
from models_under_pressure.stages.experiment_inputs import Input, read_set
from models_under_pressure.stages.paths import RESULTS


def run(
    layers: Mapping[int, Input], *, probe: ProbeConfig, folds: int, rule: Rule, seed: int, confidence: float
) -> None:
    """Write the cross-validated scores of each layer, and the layer that the rule chooses.

    Args:
        layers: layer -> the training prompts with its activations.
        probe: family and hyper-parameters.
        folds: how many parts the prompts are cut into.
        rule: how the layer is chosen.
        seed: seed of the folds and of the probe.
        confidence: coverage of the intervals.
    """
    sets = {layer: read_set("train", one) for layer, one in layers.items()}
    rows = score_layers(sets, probe, folds=folds, seed=seed, confidence=confidence)
    chosen = {"layer": pick(rows, rule), "rule": rule, "probe": probe.family, "layers": rows}
    write_json(RESULTS / "choose_layer.json", chosen)
