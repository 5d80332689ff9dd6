"""Proper scores and class-wise calibration, per sample and in total."""

import numpy as np
from numpy.typing import ArrayLike

from suite.metrics.calibration.bins import bin_index
from suite.metrics.calibration.inputs import FloatArray, IndexArray, Predictions, as_labels, as_probabilities

BRIER = "sum over classes, 0..2"
"""Convention of the Brier score; scikit-learn halves it for two classes."""

CLASSWISE = "mean over classes of one-vs-rest ece"
"""Convention of the class-wise error; the sum over classes is `classes` times as large."""


def nll_per_sample(logits: ArrayLike, labels: ArrayLike) -> FloatArray:
    """Return the negative log-likelihood of each label in nats, (n,), from logits (n, classes) by log-softmax.

    Raises:
        DataError: logits or labels are unusable.
    """
    return -Predictions.from_logits(logits, labels).log_likelihood


def nll_per_sample_from_probabilities(probabilities: ArrayLike, labels: ArrayLike) -> FloatArray:
    """Return the negative log-likelihood of each label in nats, (n,); infinite where its probability is exactly 0.

    Raises:
        DataError: probabilities or labels are unusable.
    """
    return -Predictions.from_probabilities(probabilities, labels).log_likelihood


def brier_per_sample(probabilities: ArrayLike, labels: ArrayLike) -> FloatArray:
    """Return each sample's Brier score, (n,) in [0, 2]: squared error summed over the classes.

    Raises:
        DataError: probabilities or labels are unusable.
    """
    wide = as_probabilities(probabilities)
    return brier_values(wide, as_labels(labels, *wide.shape))


def brier_values(probabilities: FloatArray, labels: IndexArray) -> FloatArray:
    """Return the Brier scores (n,) of arrays that are already checked."""
    errors = one_vs_rest_errors(probabilities, labels)
    return np.asarray(np.einsum("nk,nk->n", errors, errors))


def one_vs_rest_errors(probabilities: FloatArray, labels: IndexArray) -> FloatArray:
    """Return probability minus one-hot label, (n, classes)."""
    errors = probabilities.copy()
    errors[np.arange(labels.size), labels] -= 1.0
    return errors


def classwise_ece(probabilities: ArrayLike, labels: ArrayLike, bins: int = 15) -> float:
    """Return the mean over classes of the binned error of p(class) against label == class, in [0, 1].

    Formula: static calibration error, Nixon et al. (2019). With many classes nearly all mass lies in the first bin
    and the value is small whatever the model.

    Raises:
        DataError: probabilities or labels are unusable.
    """
    wide = as_probabilities(probabilities)
    return classwise_value(wide, as_labels(labels, *wide.shape), bins)


def classwise_value(probabilities: FloatArray, labels: IndexArray, bins: int) -> float:
    """Return the class-wise error of arrays that are already checked."""
    n, classes = probabilities.shape
    keys = bin_index(probabilities, bins) + bins * np.arange(classes)
    errors = one_vs_rest_errors(probabilities, labels)
    sums = np.bincount(keys.ravel(), errors.ravel(), classes * bins)
    return float(np.abs(sums).sum() / (n * classes))
