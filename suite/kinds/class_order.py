"""A suspicion: outputs that stand in another order than the classes make a good model look bad.

If another one-to-one assignment of outputs to classes would lift the accuracy from low to high, this is said and never
applied. The assignment is chosen on one half of the samples and judged on the other half, in turn, so that chance lifts
nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import linear_sum_assignment

from suite.data.digests import in_digest_order
from suite.kinds.base import Array
from suite.types import Measure

CHECK = "class_order"
"""The name of the check, which rows have only where it fails."""

LEAST_LIFT, ERRORS = 0.25, 3.0
"""Smallest lift of the mean recall of classes, and how many of its standard errors it is at least."""

HIGH = 0.5
"""Least mean recall under the other order, on a scale from guessing, 0, to perfect, 1."""

FEW, HIGH_OF_FEW = 5, 0.7
"""Number of classes up to which a model with random weights may well permute separable classes, and what takes the
place of `HIGH` there."""

SURE = 0.5
"""With so few classes, the mean confidence is at least this share of the other order's recall, both above guessing:
the outputs of networks with random weights are nearly equal."""

SHOWN = 6
"""Most outputs that a sentence lists."""


@dataclass(frozen=True)
class Pairs:
    """How often each class is predicted as each other one.

    Attributes:
        samples: the number of the sample of each pair, (m,): one pair per sample, or one per class and prediction of an
            image.
        labels, predictions: its class and the index of the predicted output, (m,).
        counts: how often it occurs, (m,).
        classes: the class names.
        confidence: mean confidence of the predictions; None if it says nothing.
    """

    samples: Array
    labels: Array
    predictions: Array
    counts: Array
    classes: Sequence[str]
    confidence: float | None = None

    @classmethod
    def of_images(cls, confusions: Array, classes: Sequence[str]) -> Pairs:
        """Return those of the pixels of images, from confusion matrices (n, classes, classes), rows true classes."""
        samples, labels, predictions = np.nonzero(confusions)
        return cls(samples, labels, predictions, confusions[samples, labels, predictions], classes)

    def confusion(self, weights: Array) -> Array:
        """Return the weighted confusion matrix, (classes, classes), rows true classes."""
        count = len(self.classes)
        keys = self.labels.astype(np.int64) * count + self.predictions
        return np.bincount(keys, weights, minlength=count**2).reshape(count, count)


def suspect_order(measure: Measure, pairs: Pairs, ids: Sequence[str]) -> Measure:
    """Return the measure of a headline, with a failed check if another order of the classes would lift it much.

    Args:
        measure: of the samples of the pairs.
        pairs: labels and predictions.
        ids: of the samples, (n,).
    """
    reason = None if measure.value is None else other_order(pairs, ids)
    if reason is None:
        return measure
    reasons = "; ".join(filter(None, (measure.reason, reason)))
    return replace(measure, checks={**measure.checks, CHECK: "fail"}, reason=reasons)


def other_order(pairs: Pairs, ids: Sequence[str]) -> str | None:
    """Return what another order of the classes would give; None if it would not give much more."""
    n, totals = len(ids), np.bincount(pairs.labels, pairs.counts, minlength=len(pairs.classes))
    present = int((totals > 0).sum())
    if present < 2 or n < 2:
        return None
    # Every class has the same weight, so that a model that always predicts the most frequent one gains nothing.
    weights = n / present * pairs.counts / totals[pairs.labels]
    right = pairs.labels == pairs.predictions
    if 1 - float(weights[right].sum()) / n < LEAST_LIFT:
        return None
    in_first = np.isin(pairs.samples, in_digest_order(ids)[: n // 2])
    orders = [_best(pairs.confusion(np.where(in_first == half, weights, 0.0))) for half in (False, True)]
    renamed = np.where(in_first, orders[0][pairs.predictions], orders[1][pairs.predictions]) == pairs.labels
    recall = float(weights[renamed].sum()) / n
    before, after = (float(pairs.counts[hits].sum() / pairs.counts.sum()) for hits in (right, renamed))
    gains = np.bincount(pairs.samples, weights * (renamed.astype(float) - right), minlength=n)
    if not (_is_large(gains) and _is_high(recall, present, pairs) and after > before):
        return None
    return _sentence(before, after, _moved(pairs, weights), pairs.classes)


def _best(confusion: Array) -> Array:
    """Return the class of each output under the best one-to-one assignment, (classes,); ties keep their place."""
    kept = np.eye(len(confusion)) * 1e-9 * max(1.0, float(confusion.max()))
    labels, outputs = linear_sum_assignment(confusion + kept, maximize=True)
    order = np.empty(len(confusion), np.int64)
    order[outputs] = labels
    return order


def _is_large(gains: Array) -> bool:
    """Return whether the mean gain of samples (n,) is large; two more samples, one of each extreme, are imagined."""
    imagined = np.append(gains, [gains.max(), -np.abs(gains).max()])
    error = float(imagined.std(ddof=1)) / math.sqrt(len(imagined))
    return float(gains.mean()) >= LEAST_LIFT and float(imagined.mean()) >= ERRORS * error


def _is_high(recall: float, present: int, pairs: Pairs) -> bool:
    """Return whether the mean recall under the other order is that of a trained model."""
    chance = 1 / present
    above, guess = (recall - chance) / (1 - chance), 1 / len(pairs.classes)
    if present > FEW:
        return above >= HIGH
    is_sure = pairs.confidence is None or (pairs.confidence - guess) / (1 - guess) >= SURE * above
    return above >= HIGH_OF_FEW and is_sure


def _moved(pairs: Pairs, weights: Array) -> dict[int, int]:
    """Return the class of each predicted output that is the class of another one."""
    order = _best(pairs.confusion(weights))
    return {index: int(order[index]) for index in np.unique(pairs.predictions).tolist() if order[index] != index}


def _sentence(before: float, after: float, moved: dict[int, int], classes: Sequence[str]) -> str:
    outputs = ", ".join(str(index) for index in [*moved][:SHOWN])
    names = ", ".join(classes[index] for index in [*moved.values()][:SHOWN])
    more = f" (and {len(moved) - SHOWN} more)" if len(moved) > SHOWN else ""
    return (
        f"another order of the classes would give {100 * after:.0f} % instead of {100 * before:.0f} %: outputs "
        f"{outputs} look like {names}{more}; check that the model was trained with the classes in the order of the task"
    )
