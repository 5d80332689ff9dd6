"""The Brier score and the class-wise calibration error."""

import numpy as np

from suite.metrics.calibration.bins import bin_index
from suite.metrics.calibration.inputs import FloatArray, Predictions

BRIER = "sum over classes, 0..2"
"""Convention of the Brier score; scikit-learn halves it for two classes."""

CLASSWISE = "mean over classes of one-vs-rest ece"
"""Convention of the class-wise error; the sum over classes is `classes` times as large."""


def brier_scores(predictions: Predictions) -> FloatArray:
    """Return each sample's Brier score, (n,) in [0, 2]: the squared error summed over the classes."""
    errors = predictions.one_vs_rest_errors()
    return np.asarray(np.einsum("nk,nk->n", errors, errors))


def classwise_ece(predictions: Predictions, bins: int = 15) -> float:
    """Return the mean over classes of the binned error of p(class) against label == class, in [0, 1].

    Formula: static calibration error, Nixon et al. (2019). With many classes nearly all probabilities lie in the first
    bin, and the value is small for any model.
    """
    n, classes = predictions.probabilities.shape
    keys = bin_index(predictions.probabilities, bins) + bins * np.arange(classes)
    sums = np.bincount(keys.ravel(), predictions.one_vs_rest_errors().ravel(), classes * bins)
    return float(np.abs(sums).sum() / (n * classes))
