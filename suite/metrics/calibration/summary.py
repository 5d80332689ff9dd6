"""All calibration measures of a classifier."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from suite.metrics.calibration.bins import BINNING, bin_index
from suite.metrics.calibration.events import ECE_COVERS, EVENT_METRICS, event_measures, merged
from suite.metrics.calibration.inputs import FloatArray, IndexArray
from suite.metrics.calibration.losses import highest_loss
from suite.metrics.calibration.predictions import Predictions
from suite.metrics.calibration.resamples import Resamples
from suite.metrics.catalogue import Metric
from suite.metrics.stats.clusters import Groups
from suite.metrics.stats.intervals import rate
from suite.metrics.stats.means import mean_measure
from suite.metrics.stats.weights import WeightArray, chunk_rows, chunks
from suite.types import Measure

CLASSWISE_ECE = Metric(
    "classwise_ece", "classwise ECE", "the ECE of the probability of each class, averaged over classes",
    higher_is_better=False,
)  # fmt: skip
NLL = Metric(
    "nll", "NLL", "negative log-likelihood of the labels, a proper scoring rule", unit="nat", higher_is_better=False,
    bounds=(0.0, None),
)  # fmt: skip
BRIER = Metric(
    "brier", "Brier score", "squared error of the predicted probabilities, a proper scoring rule",
    unit="squared error", higher_is_better=False, bounds=(0.0, 2.0),
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
    groups: Groups | None = None,
) -> list[Measure]:
    """Measure the calibration of a classifier.

    Args:
        predictions: probabilities and labels of n samples, from logits or from probabilities.
        seed: integer >= 0; the same seed gives the same numbers.
        params: stored with every measure, together with the conventions used.
        bins: number of bins of every binned error.
        replicates: number of resamples, and of simulated calibrated models.
        level: confidence level.
        groups: the number of each sample's group, (n,); None if samples are independent.

    Returns:
        ece, ece_debiased_squared, ece_noise_floor, aurc, classwise_ece, nll, brier and accuracy, each with its
        interval. Where a label has probability exactly 0, the nll is undefined and its reason counts such labels.

    Raises:
        MeasureError: `params` has a name that a measure sets itself.
    """
    confidence, correct = predictions.top()
    common: dict[str, Any] = {"seed": seed, "level": level, "groups": groups}
    events = event_measures(confidence, correct, params=params, bins=bins, replicates=replicates, **common)
    resamples = Resamples.of(correct.size, groups, seed, replicates, level)
    return [
        *events,
        _classwise(predictions, resamples, bins, params),
        _nll(predictions, confidence, {**common, "params": params}),
        _mean(BRIER, brier_scores(predictions), {**common, "params": merged(params, {"convention": BRIER_CONVENTION})}),
        rate(CALIBRATED_ACCURACY.name, correct, level=level, groups=groups, params=dict(params)),
    ]


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


def classwise_ece_of_counts(predictions: Predictions, bins: int) -> Callable[[WeightArray], FloatArray]:
    """Return a function from weights (n + 1, r) to class-wise errors (r, 2): of n samples, and with an imagined one.

    The imagined sample, whose weight is the last, has the probabilities of the most confident one, and the second class
    is right. Nearly all entries of a softmax row lie in the first bin. Only the few entries above it are summed one by
    one, in a sparse product; a dense product gives each class's total, and the difference is its first bin.
    """
    from scipy.sparse import csr_array

    n, classes = predictions.probabilities.shape
    top, wrong = _imagined(predictions)
    samples, keys, errors = _above_first_bin(predictions, bins)
    cells, rows = np.unique(keys, return_inverse=True)
    upper = csr_array((errors, (rows, samples)), shape=(cells.size, n))
    last, of_top = np.zeros(cells.size), samples == top
    last[rows[of_top]] = wrong[keys[of_top] // bins]
    owner = csr_array((np.ones(cells.size), (cells // bins, np.arange(cells.size))), shape=(classes, cells.size))

    def error(sums: FloatArray, totals: FloatArray, size: FloatArray) -> FloatArray:
        return np.asarray((np.abs(sums).sum(axis=0) + np.abs(totals - owner @ sums).sum(axis=0)) / (size * classes))

    def values(weights: WeightArray) -> FloatArray:
        totals, result = _class_totals(predictions, weights[:-1]), np.empty((weights.shape[1], 2))
        for part in chunks(weights.shape[1], chunk_rows(n)):
            drawn = weights[:, part].astype(np.float64)
            size, imagined = drawn[:-1].sum(axis=0), drawn[-1]
            sums, more = upper @ drawn[:-1], last[:, None] * imagined
            result[part, 0] = error(sums, totals[:, part], size)
            result[part, 1] = error(sums + more, totals[:, part] + wrong[:, None] * imagined, size + imagined)
        return result

    return values


def _imagined(predictions: Predictions) -> tuple[int, FloatArray]:
    """Return the most confident sample, and its errors (classes,) if its second class were right."""
    top = int(predictions.top()[0].argmax())
    errors = predictions.probabilities[top].astype(np.float64)
    errors[np.argsort(errors)[-2]] -= 1.0
    return top, errors


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


def _class_totals(predictions: Predictions, counts: WeightArray) -> FloatArray:
    """Return the errors of each class summed over the samples of each resample, (classes, r), from counts (n, r)."""
    totals = np.zeros((predictions.probabilities.shape[1], counts.shape[1]))
    for rows, errors in predictions.errors_in_blocks():
        for part in chunks(counts.shape[1], chunk_rows(len(errors))):
            totals[:, part] += errors.T @ counts[rows, part].astype(np.float64)
    return totals


def _classwise(predictions: Predictions, resamples: Resamples, bins: int, params: Mapping[str, Any]) -> Measure:
    own = {"bins": bins, "binning": BINNING, "norm": "l1", "convention": CLASSWISE, "covers": ECE_COVERS}
    (draws,) = resamples.draws(classwise_ece_of_counts(predictions, bins))
    return resamples.recentred(CLASSWISE_ECE, classwise_ece(predictions, bins), draws, merged(params, own))


def _nll(predictions: Predictions, confidence: FloatArray, fields: dict[str, Any]) -> Measure:
    losses = -predictions.log_likelihood
    if infinite := int(np.isinf(losses).sum()):
        reason = f"{infinite} of {losses.size} labels have probability exactly 0, so that the mean is infinite"
        own: dict[str, Any] = {"unit": NLL.unit, "higher_is_better": False, "params": fields["params"]}
        return Measure(NLL.name, None, None, None, losses.size, "none", reason=reason, **own)
    return _mean(NLL, losses, {**fields, "bounds": (0.0, highest_loss(confidence, losses))})


def _mean(metric: Metric, values: FloatArray, fields: dict[str, Any]) -> Measure:
    own = {"bounds": metric.value_bounds, "unit": metric.unit, "higher_is_better": metric.higher_is_better}
    return mean_measure(metric.name, values, **{**own, **fields})
