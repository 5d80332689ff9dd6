"""The whole set of calibration measures of one classifier, from its logits or its probabilities."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csr_array

from suite.metrics.calibration.bins import BINNING, bin_index
from suite.metrics.calibration.events import ECE_COVERS, event_measures, merged, resampled
from suite.metrics.calibration.inputs import FloatArray, IndexArray, Predictions
from suite.metrics.calibration.scores import BRIER, CLASSWISE, brier_values, classwise_value, one_vs_rest_errors
from suite.metrics.stats.bootstrap import percentile_interval, recentred_interval
from suite.metrics.stats.intervals import rate
from suite.types import Measure


def _mean_of_counts(values: FloatArray) -> Callable[[FloatArray], FloatArray]:
    return lambda counts: np.asarray(values @ counts / values.size)


def _classwise_of_counts(
    probabilities: FloatArray, labels: IndexArray, bins: int
) -> Callable[[FloatArray], FloatArray]:
    """Return a function from resample counts (n, r) to the r resamples' class-wise errors.

    Nearly all of a softmax row lies in the first bins. Only the few entries above them are summed one by one, in a
    sparse product; what is left of each class's total, a dense product, is its first bin.
    """
    n, classes = probabilities.shape
    errors = one_vs_rest_errors(probabilities, labels)
    index = bin_index(probabilities, bins)
    samples, columns = np.nonzero(index)
    cells, rows = np.unique(columns * bins + index[samples, columns], return_inverse=True)
    upper = csr_array((errors[samples, columns], (rows, samples)), shape=(cells.size, n))
    owner = csr_array((np.ones(cells.size), (cells // bins, np.arange(cells.size))), shape=(classes, cells.size))

    def values(counts: FloatArray) -> FloatArray:
        sums = upper @ counts
        first = errors.T @ counts - owner @ sums
        return np.asarray((np.abs(sums).sum(axis=0) + np.abs(first).sum(axis=0)) / (n * classes))

    return values


def _score_measures(
    known: Predictions, seed: int, params: Mapping[str, Any], bins: int, replicates: int
) -> list[Measure]:
    n, (nll, brier) = known.labels.size, (-known.log_likelihood, brier_values(known.probabilities, known.labels))
    infinite = int(np.isinf(nll).sum())
    statistics = (
        _classwise_of_counts(known.probabilities, known.labels, bins),
        _mean_of_counts(brier),
        _mean_of_counts(np.zeros(n) if infinite else nll),
    )
    samples = resampled(statistics, n, seed, replicates)
    return [
        _classwise(classwise_value(known.probabilities, known.labels, bins), samples[:, 0], n, bins, params),
        _undefined_nll(n, infinite, params) if infinite else _mean("nll", nll, samples[:, 2], "nat", params),
        _mean("brier", brier, samples[:, 1], "squared error", merged(params, {"convention": BRIER})),
    ]


def _classwise(value: float, samples: FloatArray, n: int, bins: int, params: Mapping[str, Any]) -> Measure:
    interval = recentred_interval(value, samples, n=n, floor=0.0)
    own = {"bins": bins, "binning": BINNING, "norm": "l1", "convention": CLASSWISE, "covers": ECE_COVERS}
    return Measure(
        "classwise_ece", value, interval.lo, interval.hi, n, interval.method,
        higher_is_better=False, params=merged(params, own),
    )  # fmt: skip


def _mean(metric: str, values: FloatArray, samples: FloatArray, unit: str, params: Mapping[str, Any]) -> Measure:
    value = float(values.mean())
    interval = percentile_interval(value, samples, n=values.size)
    return Measure(
        metric, value, interval.lo, interval.hi, values.size, interval.method,
        unit=unit, higher_is_better=False, params=params,
    )  # fmt: skip


def _undefined_nll(n: int, infinite: int, params: Mapping[str, Any]) -> Measure:
    reason = f"{infinite} of {n} labels have probability exactly 0, so that the mean is infinite"
    return Measure("nll", None, None, None, n, "none", unit="nat", higher_is_better=False, params=params, reason=reason)


def _all_measures(
    known: Predictions, seed: int, params: Mapping[str, Any], bins: int, replicates: int
) -> list[Measure]:
    events = event_measures(known.confidence, known.correct, seed=seed, params=params, bins=bins, replicates=replicates)
    scores = _score_measures(known, seed, params, bins, replicates)
    return [*events, *scores, rate("accuracy", known.correct, params=dict(params))]


def calibration_measures(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    seed: int,
    params: Mapping[str, Any],
    bins: int = 15,
    replicates: int = 1000,
) -> list[Measure]:
    """Measure the calibration of one classifier from its logits.

    Args:
        logits: (n, classes) finite, float16, float32 or float64; computed in float64.
        labels: (n,) class indices.
        seed: integer >= 0; the same seed gives the same numbers.
        params: stored with every measure, beside the conventions used.
        bins: number of bins of every binned error.
        replicates: number of resamples, and of simulated calibrated models.

    Returns:
        ece, ece_debiased_squared, ece_noise_floor, aurc, classwise_ece, nll, brier and accuracy, each with its
        interval at 0.95.

    Raises:
        DataError: logits or labels are unusable.
        MeasureError: `params` holds a name that a measure sets itself.
    """
    return _all_measures(Predictions.from_logits(logits, labels), seed, params, bins, replicates)


def calibration_measures_from_probabilities(
    probabilities: ArrayLike,
    labels: ArrayLike,
    *,
    seed: int,
    params: Mapping[str, Any],
    bins: int = 15,
    replicates: int = 1000,
) -> list[Measure]:
    """Measure the calibration of one classifier from its probabilities, such as an ensemble's mean.

    Arguments, result and errors are those of `calibration_measures`, with probabilities (n, classes) in [0, 1] whose
    rows sum to 1. Where a label's probability is exactly 0 the nll is undefined, and its reason counts such labels.
    """
    return _all_measures(Predictions.from_probabilities(probabilities, labels), seed, params, bins, replicates)
