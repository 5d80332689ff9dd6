"""Scores of samples against loops, closed forms and cases solved by hand."""

import itertools

import numpy as np
import pytest
import scipy.linalg

from suite.errors import DataError
from suite.metrics.generation import (
    compared,
    frechet_distance,
    frechet_error,
    kernel_distance,
    kernel_interval,
    nearer_counts,
    nearer_interval,
    nearer_share,
    nearest,
    radii,
)
from suite.metrics.generation.neighbors import coverage_error
from suite.metrics.stats import clopper_pearson


def drawn(n, d, seed, *, mean=0.0, scale=1.0):
    return np.random.default_rng(seed).normal(mean, scale, (n, d))


# the kernel distance


def slow_mmd(first, second):
    def kernel(a, b):
        return (sum(x * y for x, y in zip(a, b, strict=True)) / len(a) + 1) ** 3

    n, m = len(first), len(second)
    within = sum(kernel(first[i], first[j]) for i, j in itertools.permutations(range(n), 2)) / (n * (n - 1))
    beyond = sum(kernel(second[i], second[j]) for i, j in itertools.permutations(range(m), 2)) / (m * (m - 1))
    return within + beyond - 2 * sum(kernel(a, b) for a in first for b in second) / (n * m)


def test_kernel_distance_equals_a_loop():
    first, second = drawn(12, 5, 0), drawn(12, 5, 1, mean=0.5)
    result = kernel_distance(first, second, seed=3)
    assert result.value == pytest.approx(slow_mmd(first, second), abs=1e-12)
    assert (result.subsets, result.size) == (1, 12)


def test_kernel_distance_of_a_small_example():
    # k(1, 1) = 8, k(-1, -1) = 8, k(1, -1) = 0: equal points within each set, zero between the sets
    assert kernel_distance(np.ones((4, 1)), -np.ones((4, 1)), seed=0).value == pytest.approx(16.0)
    assert kernel_distance(np.ones((4, 1)), -np.ones((4, 1)), seed=0).error == pytest.approx(0.0)


def test_kernel_distance_error_is_a_leave_one_out_jackknife():
    first, second = drawn(9, 3, 4), drawn(9, 3, 5, mean=1.0)
    variance = 0.0
    for side in range(2):
        left = []
        for gone in range(9):
            parts = [first, second]
            parts[side] = np.delete(parts[side], gone, axis=0)
            left.append(slow_mmd(*parts))
        variance += 8 / 9 * np.sum((np.array(left) - np.mean(left)) ** 2)
    assert kernel_distance(first, second, seed=0).error == pytest.approx(np.sqrt(variance), rel=1e-9)


def test_kernel_distance_of_equal_distributions_is_unbiased_and_covered():
    result = [kernel_distance(drawn(60, 4, seed), drawn(60, 4, 1000 + seed), seed=0) for seed in range(200)]
    values, errors = np.array([one.value for one in result]), np.array([one.error for one in result])
    assert abs(values.mean()) < 3 * values.std() / np.sqrt(200)
    assert (values < 0).any()
    assert np.mean(np.abs(values) <= 1.96 * errors) >= 0.9


def test_kernel_distance_intervals_cover_the_true_distance():
    # In one dimension E k = E (x y + 1)^3 follows from moments: with x ~ N(0, 1) and y ~ N(1, 1).
    def expected(first, second):  # sums over binomials of E x^i E y^i
        return 1 + 3 * first[0] * second[0] + 3 * first[1] * second[1] + first[2] * second[2]

    zero, one = (0.0, 1.0, 0.0), (1.0, 2.0, 4.0)
    truth = expected(zero, zero) + expected(one, one) - 2 * expected(zero, one)
    result = [kernel_distance(drawn(150, 1, s), drawn(150, 1, 500 + s, mean=1.0), seed=0) for s in range(200)]
    assert np.mean([one.value for one in result]) == pytest.approx(truth, rel=0.05)
    assert 0.88 <= np.mean([abs(one.value - truth) <= 1.96 * one.error for one in result]) <= 0.99


def test_kernel_distance_averages_disjoint_subsets():
    first, second = drawn(40, 3, 0), drawn(45, 3, 1, mean=0.3)
    result = kernel_distance(first, second, seed=2, size=10)
    generator = np.random.default_rng(2)
    ones, others = (generator.permutation(len(part))[:40].reshape(4, 10) for part in (first, second))
    values = [slow_mmd(first[a], second[b]) for a, b in zip(ones, others, strict=True)]
    assert (result.subsets, result.size) == (4, 10)
    assert result.value == pytest.approx(np.mean(values), abs=1e-12)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (np.ones((3, 2)), np.ones((9, 2)), "at least 4"),
        (np.ones((9, 2)), np.ones((9, 3)), "same d"),
        (np.full((9, 2), np.nan), np.ones((9, 2)), "not finite"),
        (np.ones(9), np.ones((9, 2)), "expected \\(n, d\\)"),
        (np.ones((0, 2)), np.ones((9, 2)), "at least 1"),
    ],
)
def test_kernel_distance_refuses_invalid_features(first, second, message):
    with pytest.raises(DataError, match=message):
        kernel_distance(first, second, seed=0)


# the Frechet distance


def test_frechet_distance_of_exact_moments():
    # Points at +-a in each direction have mean 0 and a known diagonal covariance; the rest is the closed form.
    def cross(mean, deviations):
        points = np.concatenate([np.diag(deviations), -np.diag(deviations)])
        return points * np.sqrt((len(points) - 1) / 2) + mean

    first, second = cross([0.0, 0.0, 0.0], [1.0, 2.0, 3.0]), cross([1.0, 0.0, -2.0], [2.0, 2.0, 1.0])
    assert frechet_distance(first, second) == pytest.approx(5 + 1 + 0 + 4, abs=1e-9)


def test_frechet_distance_equals_the_matrix_square_root_formula():
    first, second = drawn(60, 6, 0) @ drawn(6, 6, 1), drawn(50, 6, 2) @ drawn(6, 6, 3) + 0.7
    spreads = [np.cov(part.T) for part in (first, second)]
    root = scipy.linalg.sqrtm(spreads[0] @ spreads[1]).real
    expected = ((first.mean(0) - second.mean(0)) ** 2).sum() + np.trace(spreads[0] + spreads[1] - 2 * root)
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-7)


def test_frechet_distance_of_gaussians():
    first, second = drawn(20_000, 3, 0, scale=2.0), drawn(20_000, 3, 1, mean=1.0)
    assert frechet_distance(first, second) == pytest.approx(3 + 3, rel=0.03)


def test_frechet_distance_is_zero_for_equal_sets_and_real_for_collapsed_ones():
    points = drawn(30, 4, 0)
    assert frechet_distance(points, points) == pytest.approx(0.0, abs=1e-9)
    collapsed = frechet_distance(points, np.repeat(points[:1], 30, axis=0))
    assert collapsed == pytest.approx(np.trace(np.cov(points.T)) + ((points.mean(0) - points[0]) ** 2).sum())


def test_frechet_distance_refuses_too_few_samples():
    with pytest.raises(DataError, match="at least 5 samples"):
        frechet_distance(drawn(4, 4, 0), drawn(50, 4, 1))


def test_frechet_error_is_a_jackknife():
    first, second = drawn(12, 3, 0), drawn(10, 3, 1)
    ways = [frechet_distance(np.delete(first, at, axis=0), second) for at in range(12)]
    others = [frechet_distance(first, np.delete(second, at, axis=0)) for at in range(10)]
    variance = 11 / 12 * np.sum((ways - np.mean(ways)) ** 2) + 9 / 10 * np.sum((others - np.mean(others)) ** 2)
    assert frechet_error(first, second, seed=5) == pytest.approx(np.sqrt(variance), rel=1e-6)


@pytest.mark.parametrize(("mean", "most"), [(0.0, 2.2), (0.6, 1.6)])
def test_frechet_intervals_cover_and_are_not_much_too_wide(mean, most):
    pairs = [(drawn(90, 8, s), drawn(90, 8, 500 + s, mean=mean)) for s in range(120)]
    values = np.array([frechet_distance(*pair) for pair in pairs])
    errors = np.array([frechet_error(*pair, seed=0) for pair in pairs])
    assert np.mean(np.abs(values - values.mean()) <= 1.96 * errors) >= 0.92
    assert errors.mean() <= most * values.std()


def test_frechet_error_refuses_groups_that_leave_too_few_samples():
    with pytest.raises(DataError, match=r"d \+ 1 with one group left out"):
        frechet_error(drawn(18, 9, 0), drawn(50, 9, 1), seed=0, groups=2)


# neighbors


def slow_neighbors(real, generated, k, dense):
    def reach(points, k):
        return [
            sorted(np.linalg.norm(p - q) for j, q in enumerate(points) if j != i)[k - 1] for i, p in enumerate(points)
        ]

    near, own, wide = reach(real, k), reach(generated, k), reach(real, dense)
    realistic = [any(np.linalg.norm(g - r) <= near[i] for i, r in enumerate(real)) for g in generated]
    recalled = [any(np.linalg.norm(g - r) <= own[i] for i, g in enumerate(generated)) for r in real]
    density = [sum(np.linalg.norm(g - r) <= wide[i] for i, r in enumerate(real)) / dense for g in generated]
    covered = [any(np.linalg.norm(g - r) <= wide[i] for g in generated) for i, r in enumerate(real)]
    return realistic, recalled, density, covered


@pytest.mark.parametrize("seed", range(4))
def test_neighbors_equal_a_loop(seed):
    real, generated = drawn(25, 3, seed), drawn(30, 3, 50 + seed, mean=0.8, scale=1.2)
    result = compared(real, generated)
    for values, expected in zip(
        (result.realistic, result.recalled, result.density, result.covered),
        slow_neighbors(real, generated, 3, 5),
        strict=True,
    ):
        assert np.asarray(values, float) == pytest.approx(np.asarray(expected, float))


def test_neighbors_of_a_small_example():
    real = np.array([[0.0], [1.0], [3.0]])  # radii for k = 1: 1, 1, 2
    generated = np.array([[-0.5], [4.5], [9.0]])  # radii: 5, 4.5, 4.5
    result = compared(real, generated, k=1, dense=1)
    assert result.realistic.tolist() == [True, True, False]
    assert result.recalled.tolist() == [True, True, True]
    assert result.density.tolist() == [1.0, 1.0, 0.0]
    assert result.covered.tolist() == [True, False, True]


def test_collapsed_samples_have_no_coverage_and_recall():
    real = drawn(40, 3, 0)
    result = compared(real, np.repeat(real[:1], 40, axis=0))
    assert result.realistic.all()
    assert result.recalled.sum() == 1  # balls of radius 0 contain only their own point
    assert result.covered.mean() < 0.5


def test_radii_need_k_plus_one_samples():
    assert radii(np.arange(4.0)[:, None], 3).tolist() == [3.0, 2.0, 2.0, 3.0]
    with pytest.raises(DataError, match=r"at least k \+ 1"):
        radii(np.arange(3.0)[:, None], 3)


def test_different_dimensions_are_refused():
    for function in (compared, nearest):
        with pytest.raises(DataError, match="expected the same d"):
            function(drawn(9, 2, 0), drawn(9, 3, 0))


def test_nearest_equals_a_loop_over_several_blocks():
    points, pool = drawn(1100, 2, 0), drawn(40, 2, 1)
    distances = np.linalg.norm(points[:, None] - pool[None], axis=2)
    place, distance = nearest(points, pool)
    assert (place == distances.argmin(axis=1)).all()
    assert distance == pytest.approx(distances.min(axis=1))


def test_exact_copy_is_at_distance_zero():
    pool = drawn(300, 784, 0, mean=100.0)
    place, distance = nearest(pool[[7, 200]], pool)
    assert place.tolist() == [7, 200]
    assert distance.tolist() == [0.0, 0.0]


# intervals of generated samples


def test_kernel_interval_contains_the_normal_interval_and_narrows_with_the_level():
    first, second = drawn(60, 4, 0), drawn(60, 4, 1, mean=0.5)
    estimate = kernel_distance(first, second, seed=0)
    (lo, hi), (inner_lo, inner_hi) = (kernel_interval(first, second, seed=0, level=level) for level in (0.95, 0.5))
    assert lo < estimate.value - 1.96 * estimate.error < inner_lo < estimate.value
    assert estimate.value < inner_hi < estimate.value + 1.96 * estimate.error < hi
    assert hi - estimate.value > estimate.value - lo  # the estimate is skewed to the right
    assert kernel_interval(first, second, seed=0) == (lo, hi)


def test_kernel_interval_refuses_few_samples():
    with pytest.raises(DataError, match="at least 50"):
        kernel_interval(drawn(49, 4, 0), drawn(60, 4, 1), seed=0)


def test_coverage_error_is_a_leave_one_out_jackknife():
    real, generated = drawn(30, 2, 0), drawn(30, 2, 1, mean=0.7)

    def coverage(points):
        return compared(points, generated, k=3, dense=4).covered.mean()

    left = np.array([coverage(np.delete(real, gone, axis=0)) for gone in range(30)])
    reach = np.linalg.norm(real[:, None] - generated[None], axis=2).min(axis=1)
    expected = np.sqrt(29 / 30 * np.sum((left - left.mean()) ** 2))
    assert coverage_error(real, reach, 4) == pytest.approx(expected, rel=1e-9) and expected > 0


def test_nearer_counts_of_a_case_by_hand():
    # Below 1: nothing; at 1: two, in thirds and two thirds; below 3: these and 2; equal to 4: one half.
    counts = nearer_counts([4, 1, 3, 1], [1, 2, 1, 4, 9])
    assert counts == pytest.approx([0, 2 / 3, 4 / 3, 3, 3.5, 5])
    assert nearer_share(counts, 5, 0.5) == pytest.approx((4 / 3 + 3) / 2 / 5)


@pytest.mark.parametrize("ties", [10**6, 20])
def test_nearer_share_of_an_honest_generator_is_exact_on_average(ties):
    generator = np.random.default_rng(0)
    shares = [nearer_share(nearer_counts(*generator.integers(ties, size=(2, 150))), 150, 0.01) for _ in range(2000)]
    assert np.mean(shares) == pytest.approx(0.01, abs=3 * np.std(shares) / np.sqrt(2000))


def test_nearer_interval_of_a_known_quantile_is_that_of_a_rate():
    # Nothing generated lies between 0 and the held-out distances, so that the quantile does not matter.
    counts = nearer_counts(np.linspace(1, 2, 100), np.r_[np.zeros(30), np.full(70, 3.0)])
    lo, hi = nearer_interval(counts, 100, 0.5)
    assert (lo, hi) == pytest.approx(clopper_pearson(30, 100), abs=1e-6)
    # A quantile of 0.01 may lie below all of 100, so that the lower end is 0.
    assert nearer_interval(counts, 100, 0.01)[0] == 0.0


def test_nearer_counts_refuse_no_samples_and_non_finite_distances():
    with pytest.raises(DataError, match="expected"):
        nearer_counts([], [1.0])
    with pytest.raises(DataError, match="not finite"):
        nearer_counts([np.nan], [1.0])
