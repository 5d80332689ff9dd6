"""Calibration of confidence events: all that can be said from (confidence, correct) pairs."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from suite.errors import MeasureError
from suite.metrics.calibration.bins import BINNING, Reliability, bin_index
from suite.metrics.calibration.inputs import FloatArray, checked_events
from suite.metrics.calibration.selective import TIES, aurc, aurc_of_counts
from suite.metrics.stats.bootstrap import bootstrap, percentile_interval, recentred_interval, resample_counts
from suite.types import Measure

ECE_COVERS = "expected plug-in ece at this n"
"""What the interval of a plug-in error covers: not the error in the limit, of which the plug-in value is biased."""

_NOISE_BYTES = 8 * 2**20


def merged(params: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the caller's params with a measure's own; raise MeasureError where a name occurs in both."""
    if clash := sorted(params.keys() & own.keys()):
        raise MeasureError(f"params {clash} are set by the measure itself; pass params of other names.")
    return {**params, **own}


def ece_of_counts(confidence: FloatArray, correct: FloatArray, bins: int) -> Callable[[FloatArray], FloatArray]:
    """Return a function from resample counts (n, r) to the r resamples' plug-in errors."""
    keys = bin_index(confidence, bins)
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(keys[order]) != 0])
    gaps = (confidence - correct)[order][:, None]

    def errors(counts: FloatArray) -> FloatArray:
        sums = np.add.reduceat(counts[order] * gaps, starts, axis=0)
        return np.asarray(np.abs(sums).sum(axis=0) / confidence.size)

    return errors


def ece_of_calibrated(confidence: ArrayLike, *, seed: int, bins: int = 15, draws: int = 1000) -> FloatArray:
    """Return the plug-in errors, (draws,), of a perfectly calibrated model with these very confidences.

    Outcomes are drawn as Bernoulli(confidence). `confidence` is (n,) in [0, 1]; raises DataError for anything else.
    """
    values, _ = checked_events(confidence, np.zeros(np.shape(confidence)))
    generator = np.random.default_rng([seed, 1])
    ordered = np.sort(values)
    sums = np.bincount(bin_index(ordered, bins), ordered, bins)
    ends = np.cumsum(np.bincount(bin_index(ordered, bins), minlength=bins))
    filled = [(b, int(ends[b - 1]) if b else 0, int(ends[b])) for b in range(bins)]
    rows = max(1, _NOISE_BYTES // (8 * ordered.size))
    parts = []
    for start in range(0, draws, rows):
        hits = generator.random((min(rows, draws - start), ordered.size)) < ordered
        gaps = [np.abs(np.count_nonzero(hits[:, low:high], axis=1) - sums[b]) for b, low, high in filled]
        parts.append(np.sum(gaps, axis=0) / ordered.size)
    return np.concatenate(parts)


def _noise_floor(floor: FloatArray, n: int, level: float, params: Mapping[str, Any]) -> Measure:
    lo, hi = np.quantile(floor, [0.5 - level / 2, 0.5 + level / 2])
    mean = float(floor.mean())
    method = f"simulation-of-calibrated({floor.size})"
    own = {"covers": "plug-in ece of a calibrated model with these confidences at this n"}
    lo, hi = min(float(lo), mean), max(float(hi), mean)
    return Measure("ece_noise_floor", mean, lo, hi, n, method, level, higher_is_better=None, params=merged(params, own))


def _debiased(state: Reliability, level: float, params: Mapping[str, Any]) -> Measure:
    estimate = state.debiased_square(level)
    reason = None if estimate.value is not None else "no bin holds two samples, so that no bias can be estimated"
    own = {"norm": "l2 squared, untruncated, bins of one sample left out", "singletons": estimate.singletons}
    return Measure(
        "ece_debiased_squared", estimate.value, estimate.lo, estimate.hi, state.n, "score-analytic", level,
        unit="fraction^2", higher_is_better=False, params=merged(params, own), reason=reason,
    )  # fmt: skip


def event_measures(
    confidence: ArrayLike,
    correct: ArrayLike,
    *,
    seed: int,
    params: Mapping[str, Any],
    bins: int = 15,
    replicates: int = 1000,
) -> list[Measure]:
    """Measure ece, ece_debiased_squared, ece_noise_floor and aurc of confidence events.

    Args:
        confidence: (n,) in [0, 1], float16, float32 or float64.
        correct: (n,) outcomes, 0/1 or boolean.
        seed: integer >= 0; the same seed gives the same numbers.
        params: stored with every measure, beside the conventions used.
        bins: number of bins.
        replicates: number of resamples, and of simulated calibrated models.

    Raises:
        DataError: a value is not finite or outside [0, 1], there are none, or the lengths differ.
    """
    first, second = checked_events(confidence, correct)
    state, n = Reliability.from_events(first, second, bins), first.size
    statistics = (ece_of_counts(first, second, bins), aurc_of_counts(first, 1.0 - second))
    samples = resampled(statistics, n, seed, replicates)
    binning = merged(params, {"bins": bins, "binning": BINNING})
    floor = _noise_floor(ece_of_calibrated(first, seed=seed, bins=bins, draws=replicates), n, 0.95, binning)
    return [
        _ece(state.ece(), samples[:, 0], floor, binning),
        _debiased(state, 0.95, binning),
        floor,
        _aurc(aurc(first, second), samples[:, 1], n, merged(params, {"ties": TIES})),
    ]


def resampled(
    statistics: tuple[Callable[[FloatArray], FloatArray], ...], n: int, seed: int, replicates: int
) -> FloatArray:
    """Return (replicates, k) values of k statistics of the same resample counts (n, r)."""

    def joint(indices: np.ndarray[Any, np.dtype[np.int64]]) -> FloatArray:
        counts = resample_counts(indices)
        return np.stack([statistic(counts) for statistic in statistics], axis=1)

    return bootstrap(joint, n, seed=seed, replicates=replicates)


def _ece(value: float, samples: FloatArray, floor: Measure, params: Mapping[str, Any]) -> Measure:
    interval = recentred_interval(value, samples, n=floor.n, floor=0.0)
    own = {
        "norm": "l1",
        "covers": ECE_COVERS,
        "distinguishable_from_calibrated": floor.hi is not None and value > floor.hi,
    }
    return Measure(
        "ece", value, interval.lo, interval.hi, floor.n, interval.method,
        higher_is_better=False, params=merged(params, own),
    )  # fmt: skip


def _aurc(value: float, samples: FloatArray, n: int, params: Mapping[str, Any]) -> Measure:
    interval = percentile_interval(value, samples, n=n)
    return Measure("aurc", value, interval.lo, interval.hi, n, interval.method, higher_is_better=False, params=params)
