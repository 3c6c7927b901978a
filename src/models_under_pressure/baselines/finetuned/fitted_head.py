"""A head that starts as a linear probe: training then moves features that it already reads."""

import numpy as np
from jaxtyping import Bool, Float64

from models_under_pressure.baselines.finetuned.classifier import Classifier

_INVERSE_REGULARISATION = 0.001
"""Of standardised features, as the mean-pooled logistic probe's (paper, appendix C: `C = 1e-3`)."""


def fit_head(
    classifier: Classifier, pooled: Float64[np.ndarray, "records hidden"], labels: Bool[np.ndarray, "records"]
) -> None:
    """Set the head to a logistic regression on what it reads of the training records.

    Linear probing before finetuning (Kumar et al. 2022, section 3.4): a head that points anywhere else would at first
    pull the features towards itself.
    """
    import torch
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(pooled)
    fitted = LogisticRegression(C=_INVERSE_REGULARISATION, max_iter=10_000).fit(scaler.transform(pooled), labels)
    weight = fitted.coef_[0] / scaler.scale_
    bias = fitted.intercept_[0] - weight @ scaler.mean_
    with torch.no_grad():
        classifier.head.weight[1] = torch.from_numpy(weight)
        classifier.head.bias[1] = float(bias)
