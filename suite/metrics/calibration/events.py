"""Calibration of confidence events: what (confidence, correct) pairs alone determine."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from suite.errors import MeasureError
from suite.metrics.calibration.bins import BINNING, Reliability, bin_index
from suite.metrics.calibration.inputs import FloatArray, checked_events
from suite.metrics.calibration.selective import TIES, aurc, aurc_of_counts
from suite.metrics.catalogue import BoardColumn, Metric
from suite.metrics.stats.bootstrap import bootstrap_counts, by_chunk, percentile_interval, recentred_interval, tails
from suite.metrics.stats.counts import CountArray
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

    Raises:
        DataError: a value is not finite or outside [0, 1], there are none, or the lengths differ.
    """
    first, second = checked_events(confidence, correct)
    state = Reliability.from_events(first, second, bins)
    statistics = by_chunk(ece_of_counts(first, second, bins)), by_chunk(aurc_of_counts(first, 1.0 - second))
    samples = joint_bootstrap(statistics, first.size, seed, replicates)
    binning = merged(params, {"bins": bins, "binning": BINNING})
    floor = _noise_floor(ece_of_calibrated(first, seed=seed, bins=bins, draws=replicates), first.size, binning, level)
    return [
        _ece(state.ece(), samples[:, 0], floor, binning),
        _debiased(state, binning, level),
        floor,
        _aurc(aurc(first, second), samples[:, 1], first.size, merged(params, {"ties": TIES}), level),
    ]


def joint_bootstrap(
    statistics: tuple[Callable[[CountArray], FloatArray], ...], n: int, seed: int, replicates: int
) -> FloatArray:
    """Return (replicates, k) values of k statistics of the same resample counts (n, r)."""

    def joint(counts: CountArray) -> FloatArray:
        return np.stack([statistic(counts) for statistic in statistics], axis=1)

    return bootstrap_counts(joint, n, seed=seed, replicates=replicates)


def merged(params: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the caller's params with a measure's own; raise MeasureError where a name occurs in both."""
    if clash := sorted(params.keys() & own.keys()):
        raise MeasureError(f"params {clash} are set by the measure itself; pass params of other names.")
    return {**params, **own}


def ece_of_counts(confidence: FloatArray, correct: FloatArray, bins: int) -> Callable[[FloatArray], FloatArray]:
    """Return a function from resample counts (n, r) to the plug-in errors of the r resamples."""
    keys = bin_index(confidence, bins)
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(keys[order]) != 0])
    gaps = (confidence - correct)[order][:, None]

    def errors(counts: FloatArray) -> FloatArray:
        sums = np.add.reduceat(counts[order] * gaps, starts, axis=0)
        return np.asarray(np.abs(sums).sum(axis=0) / confidence.size)

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


def _noise_floor(floor: FloatArray, n: int, params: Mapping[str, Any], level: float) -> Measure:
    lo, hi = np.quantile(floor, tails(level))
    mean = float(floor.mean())
    method = f"simulation-of-calibrated({floor.size})"
    own = {"covers": "plug-in ece of a calibrated model with these confidences at this n"}
    lo, hi = min(float(lo), mean), max(float(hi), mean)
    return Measure(
        ECE_NOISE_FLOOR.name, mean, lo, hi, n, method, level, higher_is_better=None, params=merged(params, own)
    )


def _debiased(state: Reliability, params: Mapping[str, Any], level: float) -> Measure:
    estimate = state.debiased_square(level)
    reason = None if estimate.value is not None else "no bin holds two samples, so that the bias cannot be estimated"
    own = {"norm": "l2 squared, untruncated, bins of one sample left out", "singletons": estimate.singletons}
    return Measure(
        ECE_DEBIASED.name, estimate.value, estimate.lo, estimate.hi, state.n, "score-analytic", level,
        unit=ECE_DEBIASED.unit, higher_is_better=False, params=merged(params, own), reason=reason,
    )  # fmt: skip


def _ece(value: float, samples: FloatArray, floor: Measure, params: Mapping[str, Any]) -> Measure:
    above_floor = floor.hi is not None and value > floor.hi
    own = {"norm": "l1", "covers": ECE_COVERS, "distinguishable_from_calibrated": above_floor}
    interval = recentred_interval(value, samples, n=floor.n, level=floor.level, floor=0.0)
    fields: dict[str, Any] = {"level": floor.level, "higher_is_better": False, "params": merged(params, own)}
    return interval.measure(ECE.name, value, floor.n, **fields)


def _aurc(value: float, samples: FloatArray, n: int, params: Mapping[str, Any], level: float) -> Measure:
    interval = percentile_interval(value, samples, n=n, level=level)
    return interval.measure(AURC.name, value, n, level=level, higher_is_better=False, params=params)
