"""Measures as functions of the weights of samples: by hand, by plain loops, and where they are undefined."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm, t
from sklearn.metrics import roc_auc_score

from suite.metrics import stats
from suite.metrics.stats import Added, auroc, average, drawn, mean_of, ratio, resampled, resampled_together, sums_ratio

GENERATOR = np.random.default_rng(0)
N = 40
SCORES = GENERATOR.integers(0, 7, N) - 3.0  # with many ties
POSITIVE = GENERATOR.random(N) < 0.4
DRAWN = GENERATOR.integers(0, N, (6, N))
COUNTS = np.stack([np.bincount(row, minlength=N) for row in DRAWN])


def test_no_counts_draw_each_sample_once() -> None:
    assert drawn(None, 3).tolist() == [[1.0, 1.0, 1.0]]
    assert drawn(COUNTS, 3) is COUNTS


def test_ratio_broadcasts_and_is_undefined_over_zero() -> None:
    result = ratio(np.array([1.0, 0.0, 3.0, 2.0]), np.array([2.0, 0.0, 0.0, -1.0]))
    np.testing.assert_array_equal(result, [0.5, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(ratio(np.array([[1.0], [3.0]]), np.array([2.0, 0.0])), [[0.5, np.nan], [1.5, np.nan]])
    assert ratio(np.array([1, 2]), np.array([2, 4])).tolist() == [0.5, 0.5]
    assert ratio(np.array(3.0), np.array(4.0)) == 0.75


def test_average_of_counts_equals_that_of_repeated_samples() -> None:
    assert average(np.array([1.0, 2.0, 6.0]))(None).tolist() == [3.0]
    assert average(np.array([1.0, 2.0, 6.0]))(np.array([[0, 0, 3], [2, 1, 0]])) == pytest.approx([6.0, 4 / 3])
    np.testing.assert_allclose(average(SCORES)(COUNTS), SCORES[DRAWN].mean(axis=1), atol=1e-12)
    assert np.isnan(average(np.zeros(0))(None)).tolist() == [True]


def test_ratio_of_sums_is_not_a_mean_of_ratios() -> None:
    part, whole = np.array([1.0, 3.0, 0.0]), np.array([2.0, 2.0, 0.0])
    assert sums_ratio(part, whole)(None).tolist() == [1.0]
    result = sums_ratio(part, whole)(np.array([[2, 1, 0], [0, 1, 9], [0, 0, 3]]))
    np.testing.assert_allclose(result, [5 / 6, 1.5, np.nan])
    top, bottom = GENERATOR.random(N), GENERATOR.random(N)
    expected = top[DRAWN].sum(axis=1) / bottom[DRAWN].sum(axis=1)
    np.testing.assert_allclose(sums_ratio(top, bottom)(COUNTS), expected, atol=1e-12)


def test_mean_of_statistics_is_taken_per_resample() -> None:
    parts = [average(SCORES), sums_ratio(SCORES**2, np.ones(N)), auroc(SCORES, POSITIVE)]
    for counts in (None, COUNTS):
        expected = sum(part(counts) for part in parts) / 3
        assert expected.shape == (1,) if counts is None else (6,)
        np.testing.assert_allclose(mean_of(parts)(counts), expected, atol=1e-12)
    undefined = sums_ratio(np.ones(N), np.zeros(N))
    assert np.isnan(mean_of([average(SCORES), undefined])(None)).all()


@pytest.mark.parametrize("scores", [SCORES, np.zeros(N), GENERATOR.permutation(N).astype(float)], ids=str)
def test_auroc_equals_sklearn_in_every_resample(scores: np.ndarray) -> None:
    np.testing.assert_allclose(auroc(scores, POSITIVE)(None), roc_auc_score(POSITIVE, scores), atol=1e-12)
    expected = [roc_auc_score(POSITIVE[row], scores[row]) for row in DRAWN]
    np.testing.assert_allclose(auroc(scores, POSITIVE)(COUNTS), expected, atol=1e-12)


def test_auroc_counts_a_tie_as_half_a_pair() -> None:
    scores, positive = np.array([1.0, 1.0, 2.0, 0.0]), np.array([True, False, False, True])
    assert auroc(scores, positive)(None).tolist() == [0.125]  # of four pairs, three are ranked wrongly and one is tied
    counts = np.array([[2, 1, 0, 0], [1, 1, 0, 3], [0, 0, 1, 1]])
    assert auroc(scores, positive)(counts).tolist() == [0.5, 0.125, 0.0]
    assert auroc(-scores, positive)(None).tolist() == [0.875]


def test_auroc_is_undefined_without_both_classes() -> None:
    scores = np.array([1.0, 2.0, 3.0])
    for side in (np.ones(3, bool), np.zeros(3, bool)):
        assert np.isnan(auroc(scores, side)(None)).tolist() == [True]
    result = auroc(scores, np.array([True, False, False]))(np.array([[3, 0, 0], [0, 1, 2], [1, 1, 1]]))
    np.testing.assert_array_equal(result, [np.nan, np.nan, 0.0])


def test_undefined_measures_have_a_reason_and_undefined_resamples_are_left_out() -> None:
    none = resampled("m", sums_ratio(np.ones(3), np.zeros(3)), 3, seed=0, why="no sample counts", unit="bits")
    assert (none.value, none.lo, none.hi, none.n, none.method) == (None, None, None, 3, "none")
    assert (none.reason, none.unit) == ("no sample counts", "bits")
    part, whole = np.array([1.0, 0.0, 0.0, 0.0]), np.array([2.0, 0.0, 0.0, 0.0])
    constant = resampled("m", sums_ratio(part, whole), 4, seed=0)
    assert (constant.value, constant.lo, constant.hi, constant.status) == (0.5, None, None, "inconclusive")
    assert constant.reason == "the value is the same for all samples, from which no interval follows"


def test_interval_equals_that_of_the_seeded_resamples() -> None:
    result = resampled("m", average(SCORES), N, seed=3, params={"a": 1})
    draws = stats.bootstrap(lambda w: SCORES @ w / w.sum(axis=0), N, seed=3, replicates=600)
    # Hesterberg's expanded percentiles: the quantile of Student's t, wider by sqrt((n + 1) / (n - 1)).
    tail = norm.cdf(t.ppf(0.025, N - 1) * np.sqrt((N + 1) / (N - 1)))
    np.testing.assert_allclose((result.lo, result.hi), np.quantile(draws, [tail, 1 - tail]), atol=1e-6)
    assert (result.value, result.params) == (pytest.approx(SCORES.mean()), {"a": 1})


@pytest.mark.parametrize(("wrong", "n"), [(0, 50), (1, 50), (3, 200), (10, 20), (50, 50)])
def test_added_samples_give_the_interval_of_a_rate(wrong: int, n: int) -> None:
    outcomes = np.r_[np.zeros(wrong), np.ones(n - wrong), 0.0, 1.0]  # the last two are imagined

    def share(weights: np.ndarray | None) -> np.ndarray:
        assert weights is not None
        return ratio(weights @ outcomes, weights.sum(axis=1))

    result = resampled("m", share, n, seed=0, added=Added(np.array([1.0, 0.0]), np.array([0.0, 1.0])))
    lo, hi = stats.clopper_pearson(n - wrong, n)
    assert result.value == (n - wrong) / n
    assert (result.lo, result.hi) == (pytest.approx(lo, abs=0.02), pytest.approx(hi, abs=0.02))
    assert result.hi - result.lo <= 1.25 * (hi - lo)


def test_groups_are_drawn_as_a_whole() -> None:
    values, groups = np.repeat([0.0, 1.0, 4.0, 2.0, 3.0], 20), np.repeat(np.arange(5), 20)
    result = resampled("m", average(values), 100, seed=0, groups=groups)
    single = resampled("m", average(np.array([0.0, 1.0, 4.0, 2.0, 3.0])), 5, seed=0)
    assert (result.n, result.groups, single.groups) == (100, 5, None)
    assert (result.lo, result.hi) == (pytest.approx(single.lo), pytest.approx(single.hi))
    alone = resampled("m", average(values), 100, seed=0, groups=np.arange(100))
    assert (alone.groups, alone.lo) == (None, resampled("m", average(values), 100, seed=0).lo)


@pytest.mark.parametrize("recentred", [False, True])
def test_measures_resampled_together_equal_single_ones(recentred: bool) -> None:
    parts = [average(SCORES / 10), sums_ratio(SCORES, np.zeros(N)), auroc(SCORES, POSITIVE)]
    fields = [{"params": {"a": 1}, "ceiling": 0.01}, {"why": "no whole"}, {"unit": "pairs"}]
    calls: list[int] = []

    def together(counts: np.ndarray | None) -> np.ndarray:
        calls.append(1 if counts is None else len(counts))
        return np.stack([part(counts) for part in parts], axis=1)

    options = {"seed": 5, "recentred": recentred, "level": 0.9}
    names = [{"metric": f"m{place}", **own} for place, own in enumerate(fields)]
    several = resampled_together(names, together, N, **options)
    single = [resampled(f"m{i}", part, N, **options, **fields[i]) for i, part in enumerate(parts)]
    assert several == single
    assert [one.value is None for one in several] == [False, True, False]
    assert several[1].reason == "no whole"
    assert calls == [1, 600]
