"""Intervals against simulated coverage, tests against scipy, tie groups against their definition."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from suite.errors import DataError, MeasureError
from suite.metrics import stats
from suite.metrics.stats.bootstrap import recentred_interval
from suite.metrics.stats.counts import resample_counts
from suite.metrics.stats.paired import mcnemar_exact


def test_all_lists_existing_names() -> None:
    assert sorted(stats.__all__) == stats.__all__
    assert all(hasattr(stats, name) for name in stats.__all__)


# Wilson


@pytest.mark.parametrize("level", [0.8, 0.95, 0.999])
def test_wilson_equals_scipy(level: float) -> None:
    for n in (1, 2, 17, 1000):
        for successes in {0, 1, n // 3, n - 1, n}:
            expected = binomtest(successes, n).proportion_ci(confidence_level=level, method="wilson")
            assert stats.wilson(successes, n, level) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_contains_shares_of_zero_and_one_exactly() -> None:
    assert stats.wilson(0, 7)[0] == 0.0
    assert stats.wilson(7, 7)[1] == 1.0
    assert stats.wilson(7, 7)[0] < 0.7


@pytest.mark.parametrize("p", [0.02, 0.1, 0.5, 0.9, 0.99])
def test_wilson_covers(p: float) -> None:
    # Exact coverage, summed over all outcomes. One n may dip near the ends (Brown et al. 2001); the mean may not.
    coverages = []
    for n in (20, 50, 100, 300, 1000):
        counts = np.arange(n + 1)
        inside = [lo <= p <= hi for lo, hi in (stats.wilson(int(k), n) for k in counts)]
        coverages.append(float(binom.pmf(counts, n, p) @ inside))
    assert min(coverages) >= 0.90
    assert 0.935 <= np.mean(coverages) <= 0.98


def test_wilson_covers_in_simulation() -> None:
    draws = np.random.default_rng(3).binomial(200, 0.3, size=4000)
    hits = [lo <= 0.3 <= hi for lo, hi in (stats.wilson(int(k), 200) for k in draws)]
    assert 0.935 <= np.mean(hits) <= 0.965


@pytest.mark.parametrize(("successes", "n", "level"), [(0, 0, 0.95), (3, 2, 0.95), (-1, 5, 0.95), (1, 2, 1.0)])
def test_wilson_refuses_invalid_arguments(successes: int, n: int, level: float) -> None:
    with pytest.raises(MeasureError):
        stats.wilson(successes, n, level)


def test_rate_counts_outcomes_and_keeps_fields() -> None:
    measure = stats.rate("accuracy", np.array([True, False, True, True]), params={"eps": 0}, n_failed=1)
    assert (measure.value, measure.n, measure.method, measure.n_failed) == (0.75, 4, "wilson", 1)
    assert (measure.lo, measure.hi) == stats.wilson(3, 4)
    assert stats.rate("accuracy", [1, 0]).value == 0.5


@pytest.mark.parametrize("bad", [[], [0.5, 1.0], [float("nan"), 1.0], [[True], [False]], ["a"]])
def test_rate_refuses_invalid_outcomes(bad: list[object]) -> None:
    with pytest.raises(DataError):
        stats.rate("accuracy", bad)  # type: ignore[arg-type]


# Bootstrap


def test_bootstrap_reproduces_and_depends_on_the_seed() -> None:
    values = np.random.default_rng(0).normal(size=50)
    first, again, other = (stats.mean_measure("loss", values, seed=seed, unit="nat") for seed in (1, 1, 2))
    assert first == again
    assert (first.lo, first.hi) != (other.lo, other.hi)
    assert first.method == "bootstrap-percentile(1000)"
    assert first.unit == "nat"
    assert first.value == pytest.approx(values.mean())


def test_bootstrap_matches_a_plain_loop() -> None:
    values = np.random.default_rng(1).exponential(size=40)
    result = stats.bootstrap(lambda i: values[i].mean(axis=1), 40, seed=7, replicates=500)
    generator = np.random.default_rng(99)
    loop = [values[generator.integers(0, 40, 40)].mean() for _ in range(4000)]
    assert result.shape == (500,)
    assert result.mean() == pytest.approx(np.mean(loop), abs=0.03)
    assert result.std() == pytest.approx(np.std(loop), rel=0.15)
    assert result.std() == pytest.approx(values.std() / np.sqrt(40), rel=0.15)


def test_bootstrap_of_several_statistics_shares_the_resamples() -> None:
    values = np.arange(5.0)
    both = stats.bootstrap(
        lambda i: np.stack([values[i].sum(axis=1), (2 * values[i]).sum(axis=1)], axis=1), 5, seed=0, replicates=30
    )
    assert both.shape == (30, 2)
    assert np.array_equal(both[:, 1], 2 * both[:, 0])


def test_resample_counts_equal_bincount() -> None:
    indices = np.random.default_rng(0).integers(0, 9, size=(4, 9))
    expected = np.stack([np.bincount(row, minlength=9) for row in indices], axis=1)
    assert np.array_equal(resample_counts(indices), expected)


@pytest.mark.parametrize("n", [60, 300])
@pytest.mark.parametrize("skewed", [False, True])
def test_mean_interval_covers(n: int, skewed: bool) -> None:
    generator = np.random.default_rng(5)
    hits = []
    for seed in range(600):
        values = generator.exponential(size=n) if skewed else generator.normal(1.0, 1.0, size=n)
        measure = stats.mean_measure("x", values, seed=seed, replicates=300)
        hits.append(measure.lo is not None and measure.hi is not None and measure.lo <= 1.0 <= measure.hi)
    assert 0.905 <= np.mean(hits) <= 0.975


def test_paired_difference_covers_and_is_narrower_than_unpaired() -> None:
    generator = np.random.default_rng(6)
    hits, widths = [], []
    for seed in range(600):
        common = generator.normal(size=100)
        a, b = common + generator.normal(0.2, 0.3, 100), common + generator.normal(0.0, 0.3, 100)
        difference, lo, hi = stats.paired_bootstrap_difference(a, b, seed=seed, replicates=300)
        assert difference == pytest.approx(a.mean() - b.mean())
        hits.append(lo <= 0.2 <= hi)
        widths.append(hi - lo)
    assert 0.92 <= np.mean(hits) <= 0.97
    assert np.mean(widths) == pytest.approx(2 * 1.96 * 0.3 * np.sqrt(2 / 100), rel=0.05)


def test_degenerate_samples_are_reported() -> None:
    one = stats.mean_measure("x", [3.0], seed=0)
    assert (one.value, one.lo, one.hi) == (3.0, None, None)
    assert "one sample" in one.method
    constant = stats.mean_measure("x", np.full(9, 0.1), seed=0)
    assert constant.lo == constant.hi == constant.value
    assert "constant sample" in constant.method


def test_recentered_interval_moves_a_biased_bootstrap_to_the_value() -> None:
    samples = np.random.default_rng(0).normal(5.0, 1.0, 4000)
    interval = recentred_interval(2.0, samples, n=100, floor=0.0)
    assert interval.lo == pytest.approx(0.04, abs=0.15)
    assert interval.hi == pytest.approx(3.96, abs=0.15)
    assert recentred_interval(0.5, samples, n=100, floor=0.0).lo == 0.0


def test_percentile_interval_contains_the_value() -> None:
    interval = stats.percentile_interval(9.0, np.arange(5.0), n=5)
    assert interval.hi == 9.0


@pytest.mark.parametrize("bad", [[], [1.0, float("nan")], [1.0, float("inf")], [[1.0]]])
def test_bootstrap_refuses_invalid_values(bad: list[object]) -> None:
    with pytest.raises(DataError):
        stats.mean_measure("x", bad, seed=0)  # type: ignore[arg-type]
    with pytest.raises(DataError):
        stats.paired_bootstrap_difference(bad, bad, seed=0)  # type: ignore[arg-type]


def test_bootstrap_refuses_invalid_settings() -> None:
    with pytest.raises(MeasureError):
        stats.bootstrap(lambda i: i.mean(axis=1), 0, seed=0)
    with pytest.raises(MeasureError):
        stats.mean_measure("x", [1.0, 2.0], seed=0, level=1.5)
    with pytest.raises(DataError):
        stats.paired_bootstrap_difference([1.0, 2.0], [1.0, 2.0, 3.0], seed=0)


def test_bootstrap_memory_is_bounded() -> None:
    values = np.random.default_rng(0).random(50_000)
    tracemalloc.start()
    stats.mean_measure("x", values, seed=0, replicates=60)
    stats.bootstrap(lambda i: values @ resample_counts(i), 50_000, seed=0, replicates=60)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * 2**20


# McNemar, Holm


def test_mcnemar_equals_scipy() -> None:
    pairs = [*itertools.product(range(12), range(12)), (300, 350), (5, 900), (4000, 4200)]
    b, c = np.array(pairs).T
    expected = [binomtest(int(x), int(x + y), 0.5).pvalue if x + y else 1.0 for x, y in pairs]
    np.testing.assert_allclose(mcnemar_exact(b, c), expected, rtol=1e-9)


def test_paired_p_values_equal_pair_by_pair() -> None:
    outcomes = np.random.default_rng(1).random((6, 80)) < np.linspace(0.3, 0.9, 6)[:, None]
    result = stats.paired_p_values(outcomes)
    for i, j in itertools.product(range(6), range(6)):
        b, c = int((outcomes[i] & ~outcomes[j]).sum()), int((~outcomes[i] & outcomes[j]).sum())
        assert result[i, j] == pytest.approx(binomtest(b, b + c).pvalue if b + c else 1.0)
    assert np.array_equal(result, result.T)


def test_mcnemar_holds_its_level() -> None:
    generator = np.random.default_rng(2)
    b = generator.binomial(50, 0.5, size=20_000)
    assert 0.02 < (mcnemar_exact(b, 50 - b) <= 0.05).mean() <= 0.05


@pytest.mark.parametrize(("b", "c"), [([1.5], [2]), ([-1], [2]), ([1, 2], [1]), ([np.nan], [1])])
def test_mcnemar_refuses_invalid_counts(b: list[float], c: list[float]) -> None:
    with pytest.raises(DataError):
        mcnemar_exact(b, c)


def test_holm_of_a_small_example() -> None:
    result = stats.holm([0.01, 0.04, 0.03, 0.005])
    np.testing.assert_allclose(result, [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(stats.holm([0.6, 0.7]), [1.0, 1.0])
    assert stats.holm([]).size == 0


def test_holm_decides_as_the_sequential_procedure() -> None:
    generator = np.random.default_rng(4)
    for _ in range(200):
        p = generator.random(int(generator.integers(1, 9))) ** 3
        adjusted = stats.holm(p)
        assert (adjusted >= p).all() and (adjusted <= 1).all()
        for alpha in (0.01, 0.05, 0.3):
            rejected = np.zeros(p.size, dtype=bool)
            for step, index in enumerate(np.argsort(p)):
                if p[index] * (p.size - step) > alpha:
                    break
                rejected[index] = True
            assert np.array_equal(adjusted <= alpha, rejected)


def test_holm_matrix_adjusts_each_pair_once() -> None:
    p = np.array([[1, 0.01, 0.04], [0.01, 1, 0.03], [0.04, 0.03, 1]])
    result = stats.holm_matrix(p)
    np.testing.assert_allclose(result[np.triu_indices(3, 1)], stats.holm([0.01, 0.04, 0.03]))
    assert np.array_equal(result, result.T) and (np.diag(result) == 1).all()


def test_holm_refuses_invalid_p_values() -> None:
    for bad in ([0.5, np.nan], [1.1], [[0.1]]):
        with pytest.raises(DataError):
            stats.holm(bad)
    with pytest.raises(DataError):
        stats.holm_matrix([[1, 0.1], [0.2, 1]])


# Tie groups


def _random_p(generator: np.random.Generator, models: int, share: float) -> np.ndarray:
    p = np.where(generator.random((models, models)) < share, 0.2, 0.01)
    p = np.triu(p, 1)
    return p + p.T + np.eye(models)


def test_models_share_a_letter_if_and_only_if_they_are_tied() -> None:
    generator = np.random.default_rng(8)
    for _ in range(300):
        models = int(generator.integers(1, 14))
        p = _random_p(generator, models, generator.random())
        groups = stats.tie_groups(generator.random(models), p)
        assert all(groups)
        for i, j in itertools.combinations(range(models), 2):
            assert bool(set(groups[i]) & set(groups[j])) == (p[i, j] > 0.05)


def test_many_models_still_have_single_character_letters() -> None:
    generator = np.random.default_rng(9)
    p = _random_p(generator, 80, 0.5)
    groups = stats.tie_groups(generator.random(80), p)
    assert len(set("".join(groups))) > 52
    for i, j in itertools.combinations(range(80), 2):
        assert bool(set(groups[i]) & set(groups[j])) == (p[i, j] > 0.05)


def test_tie_groups_of_small_examples() -> None:
    # 0.9 ~ 0.8 ~ 0.7, but 0.9 and 0.7 differ; 0.1 differs from all.
    p = np.full((4, 4), 0.001)
    p[0, 1] = p[1, 0] = p[1, 2] = p[2, 1] = 0.5
    np.fill_diagonal(p, 1)
    assert stats.tie_groups([0.9, 0.8, 0.7, 0.1], p) == ["a", "ab", "b", "c"]
    assert stats.tie_groups([0.9, 0.8, 0.7, 0.1], p, higher_is_better=False) == ["c", "bc", "b", "a"]
    assert stats.rank_ranges([0.9, 0.8, 0.7, 0.1], p) == [(1, 2), (1, 3), (2, 3), (4, 4)]
    assert stats.rank_ranges([0.9, 0.8, 0.7, 0.1], p, higher_is_better=False) == [(3, 4), (2, 4), (2, 3), (1, 1)]
    assert stats.tie_groups([0.5] * 3, np.ones((3, 3))) == ["a", "a", "a"]


def test_rank_ranges_of_the_extremes() -> None:
    assert stats.rank_ranges([1, 2, 3], np.ones((3, 3))) == [(1, 3)] * 3
    assert stats.rank_ranges([1, 2, 3], np.eye(3)) == [(3, 3), (2, 2), (1, 1)]


def test_tie_groups_refuse_invalid_input() -> None:
    for values, p in (([1.0, np.nan], np.eye(2)), ([1.0, 2.0], np.eye(3)), ([1.0, 2.0], np.full((2, 2), np.nan))):
        with pytest.raises(DataError):
            stats.tie_groups(values, p)
        with pytest.raises(DataError):
            stats.rank_ranges(values, p)


# Minimum detectable effect


def test_minimum_detectable_effect_known_sizes() -> None:
    assert stats.minimum_detectable_effect(1000, 0.11) == pytest.approx(0.029, abs=0.002)
    tenth = stats.minimum_detectable_effect(10_000, 0.11, power=0.84)
    assert tenth == pytest.approx(0.010, abs=0.0005)
    assert stats.minimum_detectable_effect(20, 0.1) is None


def test_minimum_detectable_effect_has_its_power_in_simulation() -> None:
    gap = stats.minimum_detectable_effect(800, 0.2)
    assert gap is not None
    counts = np.random.default_rng(1).multinomial(800, [(0.2 + gap) / 2, (0.2 - gap) / 2, 0.8], size=20_000)
    assert (mcnemar_exact(counts[:, 0], counts[:, 1]) <= 0.05).mean() == pytest.approx(0.8, abs=0.012)


@pytest.mark.parametrize(("n", "discordance"), [(30, 0.6), (12, 1.0)])
def test_minimum_detectable_effect_has_exactly_its_power_by_enumeration(n: int, discordance: float) -> None:
    gap = stats.minimum_detectable_effect(n, discordance)
    assert gap is not None
    power = 0.0
    for total in range(n + 1):
        b = np.arange(total + 1)
        rejected = mcnemar_exact(b, total - b) <= 0.05
        chance = binom.pmf(b, total, 0.5 + gap / (2 * discordance))
        power += binom.pmf(total, n, discordance) * float(chance @ rejected)
    assert power == pytest.approx(0.8, abs=1e-6)


def test_minimum_detectable_effect_refuses_invalid_arguments() -> None:
    for arguments in ((0, 0.1), (10, 0.0), (10, 1.5)):
        with pytest.raises(MeasureError):
            stats.minimum_detectable_effect(*arguments)
