"""Statistics of classified samples, with imagined samples of each class; see `suite.metrics.stats.Added`.

A class of five samples, all right, may still have a recall of .6. So the lower end of an interval has a wrong sample of
each class in addition, the upper end a right one. Together they weigh as much as one sample; a rare class, whose
samples count most, gets the larger part: the parts are inverse to the sizes of the classes. Chosen by simulation
(``tests/benchmarks/coverage``) among equal parts, parts by size, the rarest class alone, and sums of intervals.
"""

import numpy as np
import numpy.typing as npt

from suite.metrics.stats.resampled import Added, Array, Statistic, auroc


def imagined_by_class(sizes: npt.ArrayLike) -> Added:
    """Return the weights of a wrong sample of each class, then of a right one of each.

    Args:
        sizes: number of samples of each class, (classes,); a class without samples gets no weight.
    """
    counts = np.asarray(sizes, dtype=np.float64)
    inverse = np.where(counts > 0, 1 / np.maximum(counts, 1), 0.0)
    parts, none = inverse / inverse.sum(), np.zeros(len(counts))
    return Added(np.concatenate([parts, none]), np.concatenate([none, parts]))


def widened(values: Array, own: Array, sizes: npt.ArrayLike, bounds: tuple[float, float] = (0.0, 1.0)) -> Array:
    """Return values on resamples, spread around the value for the small number of samples they come from.

    The variance of a resampled mean of n values is (n - 1) / (n + 1) of that of the mean. A value at a bound does not
    vary but by imagined samples, which are no fewer for few real ones.

    Args:
        values: (r, ...) values on resamples.
        own: the value itself, which broadcasts to them.
        sizes: number of samples that each value comes from; it broadcasts to them too.
        bounds: lowest and highest possible value.
    """
    counts = np.asarray(sizes, dtype=np.float64)
    inside = (own > bounds[0]) & (own < bounds[1])
    factor = np.where(inside, np.sqrt((counts + 1) / np.maximum(counts - 1, 1)), 1.0)
    return np.asarray(np.clip(own + (values - own) * factor, *bounds))


def imagined_auroc(scores: Array, positive: Array) -> tuple[Statistic, Added]:
    """Return the area under the ROC curve as a statistic of n + 4 weights, and those of the imagined samples.

    The imagined samples are a negative one with the highest score, a positive one with the lowest, and the reverse.

    Args:
        scores: (n,) real numbers.
        positive: bool (n,).
    """
    low, high = np.min(scores, initial=0.0) - 1, np.max(scores, initial=0.0) + 1
    sizes = [int((~positive).sum()), int(positive.sum())]
    area = auroc(np.concatenate([scores, [high, low, low, high]]), np.concatenate([positive, [False, True] * 2]))
    own = auroc(scores, positive)(None)
    return lambda weights: widened(area(weights), own, min(sizes)), imagined_by_class(sizes)
