"""The datasets in use with their activations at `probe.layer`."""

from models_under_pressure.activations.config import PipelineModel, ProbeParams
from models_under_pressure.core.in_use import Purpose, datasets_in_use
from models_under_pressure.core.paths import store_path
from models_under_pressure.core.section import read
from models_under_pressure.experiments.shared.sets import LabelledSet, read_set


def read_sets(*purposes: Purpose) -> list[LabelledSet]:
    """Open the datasets in use of some purposes at `probe.layer`, in the order train, validation, dev, test.

    Raises:
        UserError: a purpose has no dataset; or see `labelled_activations`.
    """
    model, layer = read("model", PipelineModel).name, read("probe", ProbeParams).layer
    return [read_set(one, store_path(model, one, layer)) for one in datasets_in_use(*purposes)]
