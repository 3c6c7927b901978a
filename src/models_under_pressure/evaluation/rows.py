"""The rows that experiments write to files, for those who write them and those who draw them."""

from typing import Literal, NotRequired, TypedDict


class Auroc(TypedDict):
    """AUROC on some records, with the ends of its interval."""

    auroc: float
    auroc_low: float
    auroc_high: float
    n: int
    positives: int


class OnDataset(Auroc):
    """AUROC on a dataset, or the mean over several."""

    dataset: str
    """Name of the dataset, or `mean`."""
    datasets: NotRequired[int]
    """Number of datasets that a mean is over."""
    auroc_of_each: NotRequired[list[float]]
    """AUROC of each seed or repeat, which means lack."""
    tpr_at_1pct_fpr: NotRequired[float]
    """True positive rate at a false positive rate of 1 %."""


class ProbeRow(OnDataset):
    """A probe family, of `compare_probes`."""

    purpose: str
    probe: str
    family: str
    seeds: int


class WordingRow(OnDataset):
    """A wording that a prompted model was asked with, of `compare_templates`."""

    model: str
    template: str
    chosen: bool
    """Whether the wording is used on the test sets."""


class BySize(OnDataset):
    """A number of training records."""

    size: int
    repeats: int


class SampleRow(BySize):
    """A way to train on samples of the dev sets, of `train_on_dev`."""

    mode: Literal["initial", "only", "combine", "fine_tune"]


class MethodRow(BySize):
    """A monitor trained on some of the prompts, of `measure_data_efficiency` and `measure_finetuning`."""

    method: str
    kind: Literal["probe", "finetuned"]


class LayerRow(Auroc):
    """A layer, of `choose_layer`."""

    layer: int
    accuracy: float
    folds: int
    auroc_of_each: list[float]
    """AUROC of each fold."""


class LayerChoice(TypedDict):
    """The layers compared and the one chosen, by `choose_layer`."""

    layer: int
    rule: str
    probe: str
    layers: list[LayerRow]


class CellRow(TypedDict):
    """Training on one value of an attribute and testing on another, of `measure_generalisation`."""

    attribute: str
    trained_on: str
    tested_on: str
    n_train: int
    n: int
    auroc: NotRequired[float]
    """AUROC, which cells of too few records lack, as they lack the numbers below."""
    auroc_low: NotRequired[float]
    auroc_high: NotRequired[float]
    auroc_of_each: NotRequired[list[float]]
    tpr_at_1pct_fpr: NotRequired[float]
    accuracy: NotRequired[float]
    positives: NotRequired[int]
    left_out: NotRequired[str]
    """Reason why there is no AUROC."""


class CascadeRow(OnDataset):
    """A monitor alone or a cascade of two, of `cascade`."""

    purpose: str
    kind: Literal["alone", "cascade"]
    first: str
    second: str | None
    selection: str | None
    merge: str | None
    share: float | None
    """Share of the records that the second monitor sees."""
    flops: float
    """FLOPs of a record, on average."""
    flops_per_token: NotRequired[float]
    """FLOPs of a token, of monitors alone."""
    pareto: NotRequired[bool]
    """Whether the mean is on the front of AUROC against FLOPs."""


class RobustnessRow(TypedDict):
    """A probe under a change of the conversations, of `measure_robustness`; `permuted_labels` is the control.

    TPR and FPR are those of the stored threshold; a `_change` is after minus before, on the same records.
    """

    dataset: str
    change: str
    kind: str
    amount: int
    probe: NotRequired[str]
    """Name of the probe, which a change that was not tried lacks, as it lacks all below but the reason."""
    left_out: NotRequired[str]
    """Reason why the change was not tried."""
    family: NotRequired[str]
    threshold_from: NotRequired[str]
    """What the threshold was chosen on; the control has none."""
    datasets: NotRequired[int]
    shuffles: NotRequired[int]
    n: NotRequired[int]
    positives: NotRequired[int]
    tokens: NotRequired[float]
    """Tokens of a changed conversation, on average."""
    less_benign: NotRequired[int]
    """Conversations that got less benign text than asked for, because more did not fit."""
    truncated: NotRequired[int]
    auroc: NotRequired[float]
    auroc_low: NotRequired[float]
    auroc_high: NotRequired[float]
    auroc_change: NotRequired[float]
    auroc_change_low: NotRequired[float]
    auroc_change_high: NotRequired[float]
    tpr: NotRequired[float]
    tpr_low: NotRequired[float]
    tpr_high: NotRequired[float]
    tpr_change: NotRequired[float]
    tpr_change_low: NotRequired[float]
    tpr_change_high: NotRequired[float]
    fpr: NotRequired[float]
    fpr_low: NotRequired[float]
    fpr_high: NotRequired[float]
    fpr_change: NotRequired[float]
    fpr_change_low: NotRequired[float]
    fpr_change_high: NotRequired[float]


class Recalibrated(TypedDict):
    """A monitor's probabilities on a dataset (or `mean`, or `pooled`), recalibrated or not."""

    dataset: str
    purpose: str
    monitor: str
    recalibration: Literal["none", "platt", "isotonic", "temperature"]
    n: int


class ErrorRow(Recalibrated):
    """Calibration errors with the ends of their intervals."""

    positives: int
    datasets: NotRequired[int]
    brier: float
    brier_low: float
    brier_high: float
    ece: float
    ece_low: float
    ece_high: float
    adaptive_ece: float
    adaptive_ece_low: float
    adaptive_ece_high: float
    stakes_correlation: NotRequired[float]
    stakes_correlation_low: NotRequired[float]
    stakes_correlation_high: NotRequired[float]


class BinRow(Recalibrated):
    """A bin of a reliability diagram; `n` counts its records, `records` those of all bins."""

    binning: str
    forecast: float
    observed: float
    low: float
    high: float
    positives: int
    records: int


class StakesRow(Recalibrated):
    """Mean probability of the records at one value of the 1-10 scale."""

    stakes: int
    mean: float
    low: NotRequired[float]
    """Lower end of the interval, which the mean of one record lacks."""
    high: NotRequired[float]


class Fitted(TypedDict, total=False):
    """What a monitor's maps were fitted on, or the reason why it has none."""

    fitted_on: list[str]
    n: int
    positives: int
    reason: str


class Calibration(TypedDict):
    """What `measure_calibration` finds."""

    monitors: dict[str, Fitted]
    errors: list[ErrorRow]
    bins: list[BinRow]
    scale: list[StakesRow]
