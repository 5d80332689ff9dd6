"""Calibration of confidence events: what (confidence, correct) pairs alone determine."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from suite.errors import MeasureError
from suite.metrics.calibration.bins import BINNING, Reliability, bin_index
from suite.metrics.calibration.debiased import DebiasedSquare, Gaps
from suite.metrics.calibration.inputs import FloatArray, checked_events
from suite.metrics.calibration.resamples import Resamples
from suite.metrics.calibration.selective import TIES, aurc, aurc_of_counts
from suite.metrics.catalogue import BoardColumn, Metric
from suite.metrics.stats.bootstrap import by_chunk, tails
from suite.metrics.stats.clusters import Groups
from suite.metrics.stats.interval import CONSTANT, Interval
from suite.types import Measure


def uncertainty_columns(title: str, *methods: str) -> tuple[BoardColumn, ...]:
    """Return a board column for each uncertainty method, with the title of the metric for the first."""
    suffixes = (" scaled" if method.endswith("+temperature") else "" for method in methods)
    pairs = zip(methods, suffixes, strict=True)
    return tuple(BoardColumn(f"{title}{suffix}", {"uncertainty": method}) for method, suffix in pairs)


ECE = Metric(
    "ece",
    "ECE",
    "mean gap between confidence and accuracy",
    higher_is_better=False,
    columns=uncertainty_columns("ECE", "softmax", "softmax+temperature"),
    descriptive=("distinguishable_from_calibrated",),
)
ECE_DEBIASED = Metric(
    "ece_debiased_squared",
    "debiased squared ECE",
    "mean squared gap between confidence and accuracy, without the bias of few samples",
    unit="fraction^2",
    higher_is_better=False,
)
ECE_NOISE_FLOOR = Metric(
    "ece_noise_floor",
    "ECE noise floor",
    "the ECE that a perfectly calibrated model would have by chance, with this number of samples",
    higher_is_better=None,
)
AURC = Metric(
    "aurc",
    "AURC",
    "error rate of the samples kept, averaged while the least confident ones are rejected",
    higher_is_better=False,
    columns=uncertainty_columns("AURC", "softmax"),
)
EVENT_METRICS = (ECE, ECE_DEBIASED, ECE_NOISE_FLOOR, AURC)

ECE_COVERS = "expected plug-in ece at this n"
"""What the interval of a plug-in error covers: not the error for n to infinity, of which the plug-in is biased."""

_NOISE_BYTES = 8 * 2**20


def event_measures(
    confidence: ArrayLike,
    correct: ArrayLike,
    *,
    seed: int,
    params: Mapping[str, Any],
    bins: int = 15,
    replicates: int = 1000,
    level: float = 0.95,
    groups: Groups | None = None,
) -> list[Measure]:
    """Measure ece, ece_debiased_squared, ece_noise_floor and aurc of confidence events.

    Args:
        confidence: (n,) in [0, 1], float16, float32 or float64.
        correct: (n,) outcomes, 0/1 or boolean.
        seed: integer >= 0; the same seed gives the same numbers.
        params: stored with every measure, together with the conventions used.
        bins: number of bins.
        replicates: number of resamples, and of simulated calibrated models.
        level: confidence level.
        groups: the number of each sample's group, (n,); None if samples are independent.

    Raises:
        DataError: a value is not finite or outside [0, 1], there are none, or the lengths differ.
    """
    first, second = checked_events(confidence, correct)
    resamples = Resamples.of(first.size, groups, seed, replicates, level)
    statistics = by_chunk(ece_of_counts(first, second, bins)), by_chunk(aurc_of_counts(first, 1.0 - second))
    of_ece, of_aurc = resamples.draws(*statistics)
    binning = merged(params, {"bins": bins, "binning": BINNING})
    floor = _noise_floor(ece_of_calibrated(first, seed=seed, bins=bins, draws=replicates), resamples, binning)
    debiased = _debiased(first, second, resamples, binning)
    value = Reliability.from_events(first, second, bins).ece()
    own = {"norm": "l1", "covers": ECE_COVERS, "distinguishable_from_calibrated": _stands_out(value, floor, debiased)}
    return [
        resamples.recentred(ECE, value, of_ece, merged(binning, own)),
        debiased,
        floor,
        resamples.percentile(AURC, aurc(first, second), of_aurc, merged(params, {"ties": TIES})),
    ]


def merged(params: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the caller's params with a measure's own; raise MeasureError where a name occurs in both."""
    if clash := sorted(params.keys() & own.keys()):
        raise MeasureError(f"params {clash} are set by the measure itself; pass params of other names.")
    return {**params, **own}


def ece_of_counts(confidence: FloatArray, correct: FloatArray, bins: int) -> Callable[[FloatArray], FloatArray]:
    """Return a function from weights (n + 1, r) to plug-in errors (r, 2): of n samples, and with an imagined one.

    The imagined sample, whose weight is the last, is wrong at the highest confidence of all.
    """
    keys = bin_index(confidence, bins)
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(keys[order]) != 0])
    gaps = (confidence - correct)[order][:, None]

    def errors(weights: FloatArray) -> FloatArray:
        drawn, imagined = weights[order], weights[-1]
        total = drawn.sum(axis=0)
        sums = np.add.reduceat(np.multiply(drawn, gaps, out=drawn), starts, axis=0)
        plain = np.abs(sums).sum(axis=0)
        more = np.abs(sums[-1] + imagined * confidence.max()) - np.abs(sums[-1])
        return np.stack([plain / total, (plain + more) / (total + imagined)], axis=1)

    return errors


def ece_of_calibrated(confidence: ArrayLike, *, seed: int, bins: int = 15, draws: int = 1000) -> FloatArray:
    """Return plug-in errors, (draws,), of simulated models with these confidences that are perfectly calibrated.

    Outcomes are drawn as Bernoulli(confidence). `confidence` is (n,) in [0, 1]; raises DataError for anything else.
    """
    values, _ = checked_events(confidence, np.zeros(np.shape(confidence)))
    generator = np.random.default_rng([seed, 1])
    ordered = np.sort(values)
    sums = np.bincount(bin_index(ordered, bins), ordered, bins)
    ends = np.cumsum(np.bincount(bin_index(ordered, bins), minlength=bins))
    ranges = list(zip(np.r_[0, ends[:-1]].tolist(), ends.tolist(), sums, strict=True))
    rows = max(1, _NOISE_BYTES // (8 * ordered.size))
    parts = []
    for start in range(0, draws, rows):
        hits = generator.random((min(rows, draws - start), ordered.size)) < ordered
        gaps = [np.abs(np.count_nonzero(hits[:, low:high], axis=1) - total) for low, high, total in ranges]
        parts.append(np.sum(gaps, axis=0) / ordered.size)
    return np.concatenate(parts)


def _noise_floor(floor: FloatArray, resamples: Resamples, params: Mapping[str, Any]) -> Measure:
    lo, hi = np.quantile(floor, tails(resamples.level))
    mean = float(floor.mean())
    ends = min(float(lo), mean), max(float(hi), mean)
    interval = Interval(*ends, f"simulation-of-calibrated({floor.size})")
    if ends[0] == ends[1]:  # every confidence is 1, so that a calibrated model is always right
        interval = Interval(None, None, CONSTANT)
    own = {"covers": "plug-in ece of a calibrated model with these confidences at this n, for independent samples"}
    return resamples.measure(ECE_NOISE_FLOOR, mean, interval, merged(params, own))


def _debiased(confidence: FloatArray, correct: FloatArray, resamples: Resamples, params: Mapping[str, Any]) -> Measure:
    estimate = _square(confidence, correct, resamples, params["bins"])
    own = {"norm": "l2 squared, untruncated, bins of one sample left out", "singletons": estimate.singletons}
    if estimate.value is not None:
        interval = Interval(estimate.lo, estimate.hi, "score-analytic")
        return resamples.measure(ECE_DEBIASED, estimate.value, interval, merged(params, own))
    reason = "no bin holds two samples, so that the bias cannot be estimated"
    return Measure(
        ECE_DEBIASED.name, None, None, None, resamples.n, "none", resamples.level, unit=ECE_DEBIASED.unit,
        higher_is_better=False, params=merged(params, own), reason=reason,
    )  # fmt: skip


def _square(confidence: FloatArray, correct: FloatArray, resamples: Resamples, bins: int) -> DebiasedSquare:
    if resamples.groups is None:
        return Reliability.from_events(confidence, correct, bins).debiased_square(resamples.level)
    gaps = Gaps.of_groups(bin_index(confidence, bins), confidence, correct, resamples.groups)
    return gaps.square(resamples.level)


def _stands_out(value: float, floor: Measure, debiased: Measure) -> bool:
    """Return whether the model is not calibrated for sure; the floor holds for independent samples only."""
    if floor.groups is not None:
        return debiased.lo is not None and debiased.lo > 0
    highest = floor.value if floor.hi is None else floor.hi
    return highest is not None and value > highest
