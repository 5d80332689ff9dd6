"""Agreement of predicted distributions with the labels of several human raters per sample."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from suite.errors import DataError
from suite.metrics.calibration.inputs import FloatArray, as_labels, as_probabilities
from suite.metrics.calibration.losses import highest_loss
from suite.metrics.catalogue import BoardColumn, Metric
from suite.metrics.stats.clusters import Groups
from suite.metrics.stats.intervals import rate
from suite.metrics.stats.means import mean_measure
from suite.types import Measure

AGREED = 0.8
"""Smallest share of raters with the same choice for which a sample counts as agreed."""

UNRATED = "no sample has human ratings"
"""Reason of the measures if there are no ratings."""

SOFT_CROSS_ENTROPY = Metric(
    "soft_cross_entropy",
    "raters' cross-entropy",
    "cross-entropy between the shares of human raters and the model",
    unit="nat",
    higher_is_better=False,
    columns=(BoardColumn("raters' cross-entropy"),),
)
RATER_ENTROPY = Metric(
    "rater_entropy",
    "raters' entropy",
    "entropy of the shares of human raters, the lowest cross-entropy that a model can reach",
    unit="nat",
    higher_is_better=None,
)
SOFT_KL = Metric(
    "soft_kl",
    "divergence from raters",
    "cross-entropy between the shares of human raters and the model, minus the entropy of the raters",
    unit="nat",
    higher_is_better=False,
)
JS_DISTANCE = Metric(
    "js_distance",
    "distance from raters",
    "Jensen-Shannon distance between the model's probabilities and the raters' shares",
    higher_is_better=False,
    columns=(BoardColumn("distance from raters"),),
)
TOTAL_VARIATION = Metric(
    "total_variation",
    "total variation from raters",
    "half the sum of absolute differences between the model's probabilities and the raters' shares",
    higher_is_better=False,
)
ACCURACY_AGREED = Metric(
    "accuracy_agreed",
    "accuracy where raters agree",
    f"accuracy on samples for which at least {AGREED:.0%} of the raters made the same choice",
)
ACCURACY_DISPUTED = Metric(
    "accuracy_disputed",
    "accuracy where raters disagree",
    f"accuracy on samples for which fewer than {AGREED:.0%} of the raters made the same choice",
)
AGREEMENT_METRICS = (
    SOFT_CROSS_ENTROPY,
    RATER_ENTROPY,
    SOFT_KL,
    JS_DISTANCE,
    TOTAL_VARIATION,
    ACCURACY_AGREED,
    ACCURACY_DISPUTED,
)

_SLACK = 1e-9
"""Tolerance for rounding: a share of four in five is not always exactly 0.8."""


def soft_cross_entropy(predicted: FloatArray, shares: FloatArray) -> FloatArray:
    """Return -sum(share * log(predicted)) in nats, (n,); infinite if a rater's choice has probability 0."""
    with np.errstate(divide="ignore"):
        logs = np.log(predicted)
    return np.asarray(-(shares * np.where(shares > 0, logs, 0.0)).sum(axis=1))


def entropy(shares: FloatArray) -> FloatArray:
    """Return the entropy of distributions (n, classes) in nats, (n,)."""
    return soft_cross_entropy(shares, shares)


def jensen_shannon_distance(predicted: FloatArray, shares: FloatArray) -> FloatArray:
    """Return the Jensen-Shannon distance, (n,) in [0, 1].

    It is the square root of the divergence in bits (Endres and Schindelin 2003): a metric, 1 for distributions with
    disjoint support.
    """
    mixture = (predicted + shares) / 2
    nats = entropy(mixture) - (entropy(predicted) + entropy(shares)) / 2
    return np.asarray(np.sqrt(np.clip(nats / np.log(2), 0.0, 1.0)))


def total_variation(predicted: FloatArray, shares: FloatArray) -> FloatArray:
    """Return the total variation distance, (n,) in [0, 1]: half the sum of absolute differences."""
    return np.asarray(np.abs(predicted - shares).sum(axis=1) / 2)


def agreement_measures(
    predicted: ArrayLike,
    shares: ArrayLike,
    labels: ArrayLike,
    *,
    seed: int,
    params: Mapping[str, Any] | None = None,
    level: float = 0.95,
    groups: Groups | None = None,
) -> list[Measure]:
    """Compare predicted distributions with those of the raters, and split accuracy by how far raters agree.

    Args:
        predicted: probabilities (n, classes).
        shares: share of the raters who chose each class, (n, classes); NaN for samples without ratings.
        labels: class indices (n,).
        seed: of the resampling.
        params: stored with every measure.
        level: confidence level.
        groups: the number of each sample's group, (n,); None if samples are independent.

    Returns:
        soft_cross_entropy, rater_entropy (its lower bound) and their difference soft_kl, in nats; js_distance and
        total_variation; accuracy_agreed and accuracy_disputed. n counts the samples that were rated.

    Raises:
        DataError: the shapes differ, or a row is not a distribution.
    """
    probabilities = as_probabilities(predicted)
    label_indices = as_labels(labels, *probabilities.shape)
    rated, raters = _rated(shares, probabilities.shape)
    own = {**(params or {}), "unrated": int((~rated).sum())}
    probabilities, right = probabilities[rated], (probabilities.argmax(axis=1) == label_indices)[rated]
    codes = None if groups is None else groups[rated]
    agreed = raters.max(axis=1, initial=0.0) >= AGREED - _SLACK
    fields: dict[str, Any] = {"seed": seed, "level": level}
    return [
        *(
            _mean(metric, values, highest, {**fields, "groups": codes, "params": own})
            for metric, values, highest in distances(probabilities, raters)
        ),
        *(
            _accuracy(metric, right, rows, codes, {**own, "agreement": f"{sign} {AGREED:g}"}, level)
            for metric, rows, sign in ((ACCURACY_AGREED, agreed, ">="), (ACCURACY_DISPUTED, ~agreed, "<"))
        ),
    ]


def distances(predicted: FloatArray, raters: FloatArray) -> list[tuple[Metric, FloatArray, float]]:
    """Return the metrics that are means, with the values (n,) and the highest value that is conceivable."""
    lower_bound, cross_entropy = entropy(raters), soft_cross_entropy(predicted, raters)
    worst = highest_loss(predicted.max(axis=1), cross_entropy)
    return [
        (SOFT_CROSS_ENTROPY, cross_entropy, worst),
        (RATER_ENTROPY, lower_bound, float(np.log(raters.shape[1]))),
        (SOFT_KL, np.maximum(cross_entropy - lower_bound, 0.0), worst),
        (JS_DISTANCE, jensen_shannon_distance(predicted, raters), 1.0),
        (TOTAL_VARIATION, total_variation(predicted, raters), 1.0),
    ]


def _rated(shares: ArrayLike, shape: tuple[int, ...]) -> tuple[NDArray[np.bool_], FloatArray]:
    """Return which samples were rated, bool (n,), and the distributions of their raters, (rated, classes)."""
    wide = np.asarray(shares, np.float64)
    if wide.shape != shape:
        raise DataError(f"shares: got shape {wide.shape}; expected {shape}, one share per sample and class.")
    rated = np.asarray(~np.isnan(wide).any(axis=1))
    return rated, as_probabilities(wide[rated]) if rated.any() else wide[rated]


def _mean(metric: Metric, values: FloatArray, highest: float, own: Mapping[str, Any]) -> Measure:
    infinite = int(np.isinf(values).sum())
    fields: dict[str, Any] = {**own, "unit": metric.unit, "higher_is_better": metric.higher_is_better}
    if values.size and not infinite:
        return mean_measure(metric.name, values, bounds=(0.0, highest), **fields)
    reason = f"in {infinite} of {values.size} samples a rater's choice has probability exactly 0"
    del fields["seed"], fields["groups"]
    reason = reason if infinite else UNRATED
    return Measure(metric.name, None, None, None, values.size, "none", reason=reason, **fields)


def _accuracy(
    metric: Metric,
    right: NDArray[np.bool_],
    rows: NDArray[np.bool_],
    groups: Groups | None,
    params: Mapping[str, Any],
    level: float,
) -> Measure:
    if rows.any():
        codes = None if groups is None else groups[rows]
        return rate(metric.name, right[rows], groups=codes, level=level, params=params)
    reason = f"no sample has a rater agreement of {params['agreement']}"
    return Measure(metric.name, None, None, None, 0, "none", level, params=params, reason=reason)
