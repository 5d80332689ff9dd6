"""All calibration measures of a classifier."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from suite.metrics.calibration.bins import BINNING, bin_index
from suite.metrics.calibration.events import ECE_COVERS, EVENT_METRICS, event_measures, joint_bootstrap, merged
from suite.metrics.calibration.inputs import FloatArray, IndexArray
from suite.metrics.calibration.predictions import Predictions
from suite.metrics.catalogue import Metric
from suite.metrics.stats.bootstrap import by_chunk, percentile_interval, recentred_interval
from suite.metrics.stats.counts import CountArray, chunk_rows, chunks
from suite.metrics.stats.intervals import rate
from suite.types import Measure

CLASSWISE_ECE = Metric(
    "classwise_ece", "classwise ECE", "the ECE of the probability of each class, averaged over classes",
    higher_is_better=False,
)  # fmt: skip
NLL = Metric(
    "nll", "NLL", "negative log-likelihood of the labels, a proper scoring rule", unit="nat", higher_is_better=False
)
BRIER = Metric(
    "brier", "Brier score", "squared error of the predicted probabilities, a proper scoring rule",
    unit="squared error", higher_is_better=False,
)  # fmt: skip
CALIBRATED_ACCURACY = Metric("accuracy", "accuracy", "share of samples whose most probable class is the true one")
CALIBRATION_METRICS = (*EVENT_METRICS, CLASSWISE_ECE, NLL, BRIER, CALIBRATED_ACCURACY)

BRIER_CONVENTION = "sum over classes, 0..2"
"""Convention of the Brier score; scikit-learn halves it for two classes."""

CLASSWISE = "mean over classes of one-vs-rest ece"
"""Convention of the class-wise error; the sum over classes is `classes` times as large."""


def calibration_measures(
    predictions: Predictions,
    *,
    seed: int,
    params: Mapping[str, Any],
    bins: int = 15,
    replicates: int = 1000,
    level: float = 0.95,
) -> list[Measure]:
    """Measure the calibration of a classifier.

    Args:
        predictions: probabilities and labels of n samples, from logits or from probabilities.
        seed: integer >= 0; the same seed gives the same numbers.
        params: stored with every measure, together with the conventions used.
        bins: number of bins of every binned error.
        replicates: number of resamples, and of simulated calibrated models.
        level: confidence level.

    Returns:
        ece, ece_debiased_squared, ece_noise_floor, aurc, classwise_ece, nll, brier and accuracy, each with its
        interval. Where a label has probability exactly 0, the nll is undefined and its reason counts such labels.

    Raises:
        MeasureError: `params` has a name that a measure sets itself.
    """
    confidence, correct = predictions.top()
    events = event_measures(
        confidence, correct, seed=seed, params=params, bins=bins, replicates=replicates, level=level
    )
    scores = _score_measures(predictions, seed, params, bins, replicates, level)
    return [*events, *scores, rate(CALIBRATED_ACCURACY.name, correct, level=level, params=dict(params))]


def brier_scores(predictions: Predictions) -> FloatArray:
    """Return each sample's Brier score, (n,) in [0, 2]: the squared error summed over the classes."""
    return np.concatenate([np.einsum("nk,nk->n", errors, errors) for _, errors in predictions.errors_in_blocks()])


def classwise_ece(predictions: Predictions, bins: int = 15) -> float:
    """Return the mean over classes of the binned error of p(class) against label == class, in [0, 1].

    Formula: static calibration error, Nixon et al. (2019). With many classes nearly all probabilities lie in the first
    bin, and the value is small for any model.
    """
    n, classes = predictions.probabilities.shape
    sums, offsets = np.zeros(classes * bins), bins * np.arange(classes)
    for rows, errors in predictions.errors_in_blocks():
        keys = bin_index(predictions.probabilities[rows].astype(np.float64), bins) + offsets
        sums += np.bincount(keys.ravel(), errors.ravel(), classes * bins)
    return float(np.abs(sums).sum() / (n * classes))


def _score_measures(
    predictions: Predictions, seed: int, params: Mapping[str, Any], bins: int, replicates: int, level: float
) -> list[Measure]:
    n, nll, brier = predictions.labels.size, -predictions.log_likelihood, brier_scores(predictions)
    infinite = int(np.isinf(nll).sum())
    statistics = (
        classwise_ece_of_counts(predictions, bins),
        by_chunk(_mean_of_counts(brier)),
        by_chunk(_mean_of_counts(np.zeros(n) if infinite else nll)),
    )
    samples = joint_bootstrap(statistics, n, seed, replicates)
    return [
        _classwise(classwise_ece(predictions, bins), samples[:, 0], n, bins, params, level),
        _undefined_nll(n, infinite, params) if infinite else _mean(NLL, nll, samples[:, 2], params, level),
        _mean(BRIER, brier, samples[:, 1], merged(params, {"convention": BRIER_CONVENTION}), level),
    ]


def _mean_of_counts(values: FloatArray) -> Callable[[FloatArray], FloatArray]:
    return lambda counts: np.asarray(values @ counts / values.size)


def classwise_ece_of_counts(predictions: Predictions, bins: int) -> Callable[[CountArray], FloatArray]:
    """Return a function from resample counts (n, r) to the class-wise errors of the r resamples.

    Nearly all entries of a softmax row lie in the first bin. Only the few entries above it are summed one by one, in a
    sparse product; a dense product gives each class's total, and the difference is its first bin.
    """
    from scipy.sparse import csr_array

    n, classes = predictions.probabilities.shape
    samples, keys, errors = _above_first_bin(predictions, bins)
    cells, rows = np.unique(keys, return_inverse=True)
    upper = csr_array((errors, (rows, samples)), shape=(cells.size, n))
    owner = csr_array((np.ones(cells.size), (cells // bins, np.arange(cells.size))), shape=(classes, cells.size))

    def values(counts: CountArray) -> FloatArray:
        totals, result = _class_totals(predictions, counts), np.empty(counts.shape[1])
        for part in chunks(counts.shape[1], chunk_rows(n)):
            sums = upper @ counts[:, part].astype(np.float64)
            first = totals[:, part] - owner @ sums
            result[part] = (np.abs(sums).sum(axis=0) + np.abs(first).sum(axis=0)) / (n * classes)
        return result

    return values


def _above_first_bin(predictions: Predictions, bins: int) -> tuple[IndexArray, IndexArray, FloatArray]:
    """Return sample, class * bins + bin, and error of every probability above the first bin, sample by sample."""
    parts = []
    for rows, errors in predictions.errors_in_blocks():
        probabilities = predictions.probabilities[rows].astype(np.float64)
        samples, columns = np.nonzero(probabilities > 1 / bins)
        keys = columns * bins + bin_index(probabilities[samples, columns], bins)
        parts.append((samples + rows.start, keys, errors[samples, columns]))
    samples, keys, values = (np.concatenate(column) for column in zip(*parts, strict=True))
    return samples, keys, values


def _class_totals(predictions: Predictions, counts: CountArray) -> FloatArray:
    """Return the errors of each class summed over the samples of each resample, (classes, r), from counts (n, r)."""
    totals = np.zeros((predictions.probabilities.shape[1], counts.shape[1]))
    for rows, errors in predictions.errors_in_blocks():
        for part in chunks(counts.shape[1], chunk_rows(len(errors))):
            totals[:, part] += errors.T @ counts[rows, part].astype(np.float64)
    return totals


def _classwise(
    value: float, samples: FloatArray, n: int, bins: int, params: Mapping[str, Any], level: float
) -> Measure:
    own = {"bins": bins, "binning": BINNING, "norm": "l1", "convention": CLASSWISE, "covers": ECE_COVERS}
    interval = recentred_interval(value, samples, n=n, level=level, floor=0.0)
    fields: dict[str, Any] = {"level": level, "higher_is_better": False, "params": merged(params, own)}
    return interval.measure(CLASSWISE_ECE.name, value, n, **fields)


def _mean(metric: Metric, values: FloatArray, samples: FloatArray, params: Mapping[str, Any], level: float) -> Measure:
    value, n = float(values.mean()), values.size
    interval = percentile_interval(value, samples, n=n, level=level)
    fields: dict[str, Any] = {"level": level, "unit": metric.unit, "higher_is_better": metric.higher_is_better}
    return interval.measure(metric.name, value, n, params=params, **fields)


def _undefined_nll(n: int, infinite: int, params: Mapping[str, Any]) -> Measure:
    reason = f"{infinite} of {n} labels have probability exactly 0, so that the mean is infinite"
    fields: dict[str, Any] = {"unit": NLL.unit, "higher_is_better": False, "params": params}
    return Measure(NLL.name, None, None, None, n, "none", reason=reason, **fields)
