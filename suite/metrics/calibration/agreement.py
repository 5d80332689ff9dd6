"""What a model predicts against what the people said who were asked about the same sample."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from suite.errors import DataError
from suite.metrics.calibration.inputs import FloatArray, as_labels, as_probabilities
from suite.metrics.stats.bootstrap import mean_measure
from suite.metrics.stats.intervals import rate
from suite.types import Measure

AGREED = 0.8
"""Share of raters from which on they count as agreed on a sample."""

NOBODY = "no sample was rated by people"
"""The reason where there is nothing to compare with."""

_SLACK = 1e-9
"""A share of four in five is not always 0.8 to the last bit."""


def soft_cross_entropy(predicted: FloatArray, shares: FloatArray) -> FloatArray:
    """Return -sum(share * log(predicted)) in nats, (n,); infinite where what somebody chose has the probability 0."""
    with np.errstate(divide="ignore"):
        logs = np.log(predicted)
    return np.asarray(-(shares * np.where(shares > 0, logs, 0.0)).sum(axis=1))


def entropy(shares: FloatArray) -> FloatArray:
    """Return the entropy of distributions (n, classes) in nats, (n,)."""
    return soft_cross_entropy(shares, shares)


def jensen_shannon_distance(predicted: FloatArray, shares: FloatArray) -> FloatArray:
    """Return the Jensen-Shannon distance, (n,) in [0, 1].

    It is the square root of the divergence in bits (Endres and Schindelin 2003): a metric, 1 where the distributions
    have nothing in common.
    """
    middle = (predicted + shares) / 2
    nats = entropy(middle) - (entropy(predicted) + entropy(shares)) / 2
    return np.asarray(np.sqrt(np.clip(nats / np.log(2), 0.0, 1.0)))


def total_variation(predicted: FloatArray, shares: FloatArray) -> FloatArray:
    """Return the total variation distance, (n,) in [0, 1]: the probability that lies elsewhere."""
    return np.asarray(np.abs(predicted - shares).sum(axis=1) / 2)


def agreement_measures(
    predicted: ArrayLike,
    shares: ArrayLike,
    labels: ArrayLike,
    *,
    seed: int,
    params: Mapping[str, Any] | None = None,
) -> list[Measure]:
    """Compare predicted distributions with the raters' and tell the clear samples from those that people dispute.

    Args:
        predicted: probabilities (n, classes).
        shares: share of the raters who chose each class, (n, classes); NaN where nobody was asked.
        labels: class indices (n,).
        seed: of the resampling.
        params: stored with every measure.

    Returns:
        soft_cross_entropy, rater_entropy (the lowest that the former can be) and their difference soft_kl, in nats;
        js_distance and total_variation; accuracy_agreed and accuracy_disputed. n counts the samples that were rated.

    Raises:
        DataError: the shapes differ, or a row is no distribution.
    """
    guesses = as_probabilities(predicted)
    truth = as_labels(labels, *guesses.shape)
    rated, raters = _rated(shares, guesses.shape)
    own = {**(params or {}), "unrated": int((~rated).sum())}
    guesses, right = guesses[rated], (guesses.argmax(axis=1) == truth)[rated]
    agreed = raters.max(axis=1, initial=0.0) >= AGREED - _SLACK
    floor, crossed = entropy(raters), soft_cross_entropy(guesses, raters)
    return [
        _mean("soft_cross_entropy", crossed, "nat", False, seed, own),
        _mean("rater_entropy", floor, "nat", None, seed, own),
        _mean("soft_kl", np.maximum(crossed - floor, 0.0), "nat", False, seed, own),
        _mean("js_distance", jensen_shannon_distance(guesses, raters), "fraction", False, seed, own),
        _mean("total_variation", total_variation(guesses, raters), "fraction", False, seed, own),
        _accuracy("accuracy_agreed", right[agreed], {**own, "agreement": f">= {AGREED:g}"}),
        _accuracy("accuracy_disputed", right[~agreed], {**own, "agreement": f"< {AGREED:g}"}),
    ]


def _rated(shares: ArrayLike, shape: tuple[int, ...]) -> tuple[NDArray[np.bool_], FloatArray]:
    """Return which samples were rated, bool (n,), and the distributions of their raters, (rated, classes)."""
    wide = np.asarray(shares, np.float64)
    if wide.shape != shape:
        raise DataError(f"shares: got shape {wide.shape}; expected {shape}, one share per sample and class.")
    rated = np.asarray(~np.isnan(wide).any(axis=1))
    return rated, as_probabilities(wide[rated]) if rated.any() else wide[rated]


def _mean(
    metric: str, values: FloatArray, unit: str, better: bool | None, seed: int, params: Mapping[str, Any]
) -> Measure:
    infinite = int(np.isinf(values).sum())
    if values.size and not infinite:
        return mean_measure(metric, values, seed=seed, unit=unit, higher_is_better=better, params=params)
    impossible = f"{infinite} of {values.size} samples have a rater's choice of probability exactly 0"
    return Measure(
        metric, None, None, None, values.size, "none",
        unit=unit, higher_is_better=better, params=params, reason=impossible if infinite else NOBODY,
    )  # fmt: skip


def _accuracy(metric: str, right: NDArray[np.bool_], params: Mapping[str, Any]) -> Measure:
    if right.size:
        return rate(metric, right, params=params)
    reason = f"no sample has an agreement {params['agreement']} among its raters"
    return Measure(metric, None, None, None, 0, "none", params=params, reason=reason)
