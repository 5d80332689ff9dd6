"""Groups of statistically tied models: compact letter displays and rank ranges."""

import itertools
import string
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from suite.errors import DataError
from suite.metrics.stats.interval import finite_values
from suite.metrics.stats.weights import FloatArray

BoolArray = NDArray[np.bool_]


def _checked(values: ArrayLike, adjusted_p: ArrayLike) -> tuple[FloatArray, FloatArray]:
    scores = finite_values("values", values)
    p = np.asarray(adjusted_p, dtype=np.float64)
    if p.shape != (scores.size, scores.size) or not np.array_equal(p, p.T):
        raise DataError(
            f"got p values of shape {p.shape} for {scores.size} models; expected a symmetric "
            "(models, models) matrix without NaN, such as holm_matrix(paired_p_values(outcomes))."
        )
    return scores, p


def _letters() -> Iterator[str]:
    """Yield single letters without end, so that a string of letters is unambiguous."""
    yield from string.ascii_letters
    yield from (chr(code) for code in itertools.count(0xC0) if chr(code).isalpha())


def _grow(clique: list[int], tied: BoolArray, order: list[int]) -> list[int]:
    """Return the clique extended greedily, best model first, by every model that is tied with all members."""
    members = list(clique)
    common: BoolArray = np.logical_and.reduce(tied[members], axis=0)
    for model in order:
        if common[model] and model not in members:
            members.append(model)
            common &= tied[model]
    return members


def _cover(tied: BoolArray, order: list[int]) -> list[list[int]]:
    """Return cliques that cover every tied pair, and every model without ties.

    A greedy clique cover takes polynomial time; enumerating all maximal cliques does not.
    """
    covered = np.zeros_like(tied)
    cliques = []
    for position, model in enumerate(order):
        rest = order[position + 1 :]
        seeds = [[model, other] for other in rest if tied[model, other]]
        for seed in seeds or ([] if covered[model].any() else [[model]]):
            if not covered[seed[0], seed[-1]]:
                members = _grow(seed, tied, order)
                covered[np.ix_(members, members)] = True
                cliques.append(members)
    return cliques


def _without_redundant(cliques: list[list[int]], models: int) -> list[list[int]]:
    """Return the cliques without those whose pairs are all covered by others."""
    times = np.zeros((models, models), dtype=np.int64)
    for members in cliques:
        times[np.ix_(members, members)] += 1
    kept = []
    for members in reversed(cliques):
        pairs = np.ix_(members, members)
        if (times[pairs] >= 2).all():
            times[pairs] -= 1
        else:
            kept.append(members)
    return kept[::-1]


def tie_groups(
    values: ArrayLike, adjusted_p: ArrayLike, *, alpha: float = 0.05, higher_is_better: bool = True
) -> list[str]:
    """Return a compact letter display: two models share a letter if and only if they do not differ significantly.

    Args:
        values: (models,) finite scores, used for the order only: the best model has the letter a.
        adjusted_p: (models, models) symmetric p values, already adjusted; a pair differs significantly if p <= alpha.
        alpha: family-wise size of the tests.
        higher_is_better: whether a larger value is the better one.

    Returns:
        One string of letters per model, in the order given.

    Raises:
        DataError: a value is not finite, or the matrix does not fit the values.
    """
    scores, p = _checked(values, adjusted_p)
    tied = p > alpha
    np.fill_diagonal(tied, True)
    order = np.argsort(-scores if higher_is_better else scores, kind="stable").tolist()
    place = {model: position for position, model in enumerate(order)}
    cliques = _without_redundant(_cover(tied, order), scores.size)
    cliques.sort(key=lambda members: sorted(place[model] for model in members))
    labels = [""] * scores.size
    for letter, members in zip(_letters(), cliques, strict=False):
        for model in members:
            labels[model] += letter
    return labels


def rank_ranges(
    values: ArrayLike, adjusted_p: ArrayLike, *, alpha: float = 0.05, higher_is_better: bool = True
) -> list[tuple[int, int]]:
    """Return the best and the worst rank each model may have, 1 being best.

    The best is 1 + the number of models significantly better, the worst is the number of models minus
    the number significantly worse. Arguments and errors are those of `tie_groups`.
    """
    scores, p = _checked(values, adjusted_p)
    scores = scores if higher_is_better else -scores
    above = (scores[None, :] > scores[:, None]) & (p <= alpha)
    best = 1 + above.sum(axis=1)
    worst = scores.size - above.sum(axis=0)
    return list(zip(best.tolist(), worst.tolist(), strict=True))
