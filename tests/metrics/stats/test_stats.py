"""Intervals against simulated coverage, tests against scipy, tie groups against their definition."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest
from scipy.stats import binom, binomtest, t

from suite.errors import DataError, MeasureError
from suite.metrics import stats
from suite.metrics.stats.bootstrap import recentred_interval
from suite.metrics.stats.means import skewed_end
from suite.metrics.stats.paired import mcnemar_exact


def test_all_lists_existing_names() -> None:
    assert all(hasattr(stats, name) for name in stats.__all__)


# Clopper-Pearson


@pytest.mark.parametrize("level", [0.8, 0.95, 0.999])
def test_clopper_pearson_equals_scipy(level: float) -> None:
    for n in (1, 2, 17, 1000):
        for successes in {0, 1, n // 3, n - 1, n}:
            expected = binomtest(successes, n).proportion_ci(confidence_level=level, method="exact")
            assert stats.clopper_pearson(successes, n, level) == pytest.approx((expected.low, expected.high), abs=1e-9)


@pytest.mark.parametrize("p", [0.02, 0.1, 0.5, 0.9, 0.98, 0.995])
@pytest.mark.parametrize("n", [20, 50, 100, 300, 1000])
def test_each_end_of_a_rate_misses_at_most_as_often_as_it_says(p: float, n: int) -> None:
    counts = np.arange(n + 1)
    chances = binom.pmf(counts, n, p)
    los, his = np.array([stats.clopper_pearson(int(k), n) for k in counts]).T
    assert chances @ (los > p) <= 0.025
    assert chances @ (his < p) <= 0.025


@pytest.mark.parametrize(("successes", "n", "level"), [(0, 0, 0.95), (3, 2, 0.95), (-1, 5, 0.95), (1, 2, 1.0)])
def test_clopper_pearson_refuses_invalid_arguments(successes: int, n: int, level: float) -> None:
    with pytest.raises(MeasureError):
        stats.clopper_pearson(successes, n, level)


def test_a_perfect_rate_has_an_interval_with_a_width() -> None:
    measure = stats.rate("accuracy", np.ones(50, bool))
    assert (measure.value, measure.hi, measure.status) == (1.0, 1.0, "ok")
    assert measure.lo == pytest.approx(0.025 ** (1 / 50))  # the rate at which 50 of 50 have a probability of 2.5 %


def test_rate_counts_outcomes_and_keeps_fields() -> None:
    measure = stats.rate("accuracy", np.array([True, False, True, True]), params={"eps": 0}, n_failed=1)
    assert (measure.value, measure.n, measure.method, measure.n_failed) == (0.75, 4, "clopper-pearson", 1)
    assert (measure.lo, measure.hi) == stats.clopper_pearson(3, 4)
    assert stats.rate("accuracy", [1, 0]).value == 0.5


@pytest.mark.parametrize("bad", [[], [0.5, 1.0], [float("nan"), 1.0], [[True], [False]], ["a"]])
def test_rate_refuses_invalid_outcomes(bad: list[object]) -> None:
    with pytest.raises(DataError):
        stats.rate("accuracy", bad)  # type: ignore[arg-type]


def test_a_rate_in_groups_is_one_of_groups() -> None:
    outcomes, groups = np.repeat([1, 1, 0, 1, 0, 1, 1, 0], 10), np.repeat(np.arange(8), 10)
    whole = stats.rate("m", outcomes, groups=groups)
    assert (whole.value, whole.n, whole.groups, whole.method) == (0.625, 80, 8, "bootstrap-bounded(1000)")
    # Groups are all right or all wrong, as 8 independent outcomes.
    assert (whole.lo, whole.hi) == pytest.approx(stats.clopper_pearson(5, 8), abs=0.03)
    perfect = stats.rate("m", np.ones(80, bool), groups=groups)
    assert (perfect.lo, perfect.hi) == pytest.approx(stats.clopper_pearson(8, 8), abs=0.03)
    assert stats.rate("m", outcomes, groups=np.arange(80)) == stats.rate("m", outcomes)
    one = stats.rate("m", outcomes, groups=np.zeros(80, int))
    assert (one.value, one.lo, one.status, one.groups) == (0.625, None, "inconclusive", 1)
    with pytest.raises(DataError, match="one per sample"):
        stats.rate("m", outcomes, groups=groups[:9])


@pytest.mark.parametrize(("p", "count", "size"), [(0.5, 10, 10), (0.9, 30, 5), (0.98, 50, 4)])
def test_a_rate_in_groups_covers(p: float, count: int, size: int) -> None:
    generator, groups = np.random.default_rng(2), np.repeat(np.arange(count), size)
    hits = 0
    for _ in range(400):  # beta-binomial outcomes with a correlation of 0.3 within a group
        shares = generator.beta(p * 7 / 3, (1 - p) * 7 / 3, count)
        measure = stats.rate("m", generator.random(groups.size) < shares[groups], groups=groups)
        hits += measure.lo is not None and measure.hi is not None and measure.lo <= p <= measure.hi
    assert hits >= 0.93 * 400


# Means


def test_a_mean_reproduces_and_depends_on_the_seed_where_it_is_resampled() -> None:
    values = np.random.default_rng(0).random(50)
    first, again, other = (stats.mean_measure("m", values, seed=seed, bounds=(0, 1)) for seed in (1, 1, 2))
    assert first == again
    assert (first.lo, first.hi) != (other.lo, other.hi)
    assert first.method == "bootstrap-bounded(1000)"
    unbounded = stats.mean_measure("loss", values, seed=1, unit="nat")
    assert (unbounded.method, unbounded.unit) == ("skewness-adjusted t", "nat")
    assert unbounded == stats.mean_measure("loss", values, seed=2, unit="nat")
    assert unbounded.value == pytest.approx(values.mean())


@pytest.mark.parametrize(("right", "n"), [(50, 50), (49, 50), (0, 20), (130, 200)])
def test_a_bounded_mean_of_zeros_and_ones_has_the_interval_of_a_rate(right: int, n: int) -> None:
    outcomes = np.r_[np.ones(right), np.zeros(n - right)]
    measures = [stats.mean_measure("m", outcomes, seed=seed, bounds=(0, 1)) for seed in range(20)]
    ends = np.mean([(one.lo, one.hi) for one in measures], axis=0)
    assert ends == pytest.approx(stats.clopper_pearson(right, n), abs=0.002)


def test_symmetric_values_have_the_interval_of_student() -> None:
    values = np.r_[-3.0, -1.0, 0.0, 1.0, 3.0] + 7
    expected = t.interval(0.9, 4, 7.0, values.std(ddof=1) / np.sqrt(5))
    measure = stats.mean_measure("m", values, seed=0, level=0.9)
    assert (measure.lo, measure.hi) == pytest.approx(expected)


def test_a_skewed_end_solves_the_transformed_t_statistic_of_hall() -> None:
    values = np.random.default_rng(4).exponential(size=30)
    n, spread = values.size, values.std()
    g = ((values - values.mean()) ** 3).mean() / spread**3
    for tail in (0.025, 0.2, 0.95):
        u = (values.mean() - skewed_end(values, tail)) / (values.std(ddof=1) / np.sqrt(n))
        transformed = u + g * u**2 / (3 * np.sqrt(n)) + g**2 * u**3 / (27 * n) + g / (6 * np.sqrt(n))
        assert transformed == pytest.approx(-t.ppf(tail, n - 1), abs=1e-9)


@pytest.mark.parametrize("n", [16, 60, 300])
@pytest.mark.parametrize("values", ["normal", "exponential", "bounded"])
def test_mean_interval_covers(n: int, values: str) -> None:
    generator, hits = np.random.default_rng(5), []
    for seed in range(500):
        if values == "bounded":  # 3 % large losses, which half of the smallest samples lack
            drawn, truth = np.where(generator.random(n) < 0.03, 1.5, 0.02), 0.03 * 1.5 + 0.97 * 0.02
        else:
            drawn, truth = getattr(generator, values)(size=n), float(values == "exponential")
        bounds = (0.0, 2.0) if values == "bounded" else None
        measure = stats.mean_measure("x", drawn, seed=seed, bounds=bounds)
        hits.append(measure.lo is not None and measure.hi is not None and measure.lo <= truth <= measure.hi)
    assert np.mean(hits) >= 0.93


def test_a_mean_in_groups_covers_and_says_how_many() -> None:
    generator, groups = np.random.default_rng(6), np.repeat(np.arange(10), 10)
    hits = 0
    for seed in range(400):
        values = generator.normal(size=10)[groups] + generator.normal(0, 0.5, 100)
        measure = stats.mean_measure("x", values, seed=seed, groups=groups)
        assert (measure.n, measure.groups) == (100, 10)
        hits += measure.lo is not None and measure.hi is not None and measure.lo <= 0 <= measure.hi
    assert 0.925 * 400 <= hits <= 0.98 * 400


def test_paired_difference_covers_and_is_narrower_than_unpaired() -> None:
    generator = np.random.default_rng(6)
    hits, widths = [], []
    for seed in range(600):
        common = generator.normal(size=100)
        a, b = common + generator.normal(0.2, 0.3, 100), common + generator.normal(0.0, 0.3, 100)
        difference, lo, hi = stats.paired_difference(a, b, seed=seed)
        assert difference == pytest.approx(a.mean() - b.mean())
        assert lo is not None and hi is not None
        hits.append(lo <= 0.2 <= hi)
        widths.append(hi - lo)
    assert 0.92 <= np.mean(hits) <= 0.97
    assert np.mean(widths) == pytest.approx(2 * 1.96 * 0.3 * np.sqrt(2 / 100), rel=0.05)


def test_samples_without_an_interval_are_inconclusive() -> None:
    one = stats.mean_measure("x", [3.0], seed=0)
    assert (one.value, one.lo, one.hi, one.status) == (3.0, None, None, "inconclusive")
    assert (one.method, one.reason) == ("none(one sample)", "one sample gives no interval")
    constant = stats.mean_measure("x", np.full(9, 0.1), seed=0)
    assert (constant.lo, constant.hi, constant.status) == (None, None, "inconclusive")
    assert constant.method == "none(constant sample)"
    bounded = stats.mean_measure("x", np.full(9, 0.1), seed=0, bounds=(0, 1))
    assert bounded.lo < 0.1 < bounded.hi and bounded.status == "ok"


def test_values_outside_the_declared_bounds_are_refused() -> None:
    with pytest.raises(MeasureError, match=r"values from 0\.5 to 1\.5; expected them within the declared bounds"):
        stats.mean_measure("x", [0.5, 1.5], seed=0, bounds=(0.0, 1.0))
    assert stats.mean_measure("x", [0.5, 1.0 + 1e-9], seed=0, bounds=(0.0, 1.0)).hi <= 1.0 + 1e-9


# Bootstrap


def test_bootstrap_varies_as_a_plain_loop_with_replacement() -> None:
    values = np.random.default_rng(1).exponential(size=40)
    result = stats.bootstrap(lambda w: values @ w / w.sum(axis=0), 40, seed=7, replicates=500)
    generator = np.random.default_rng(99)
    loop = [values[generator.integers(0, 40, 40)].mean() for _ in range(4000)]
    assert result.shape == (500,)
    assert result.mean() == pytest.approx(np.mean(loop), abs=0.03)
    assert result.std() == pytest.approx(np.std(loop), rel=0.15)


def test_bootstrap_of_several_statistics_shares_the_resamples() -> None:
    values = np.arange(5.0)
    both = stats.bootstrap(lambda w: np.stack([values @ w, 2 * values @ w], axis=1), 5, seed=0, replicates=30)
    assert both.shape == (30, 2)
    assert np.array_equal(both[:, 1], 2 * both[:, 0])


def test_recentered_interval_moves_a_biased_bootstrap_to_the_value() -> None:
    samples = np.random.default_rng(0).normal(5.0, 1.0, 4000)
    interval = recentred_interval(2.0, samples, n=1000, floor=0.0)
    assert interval.lo == pytest.approx(0.04, abs=0.15)
    assert interval.hi == pytest.approx(3.96, abs=0.15)
    assert recentred_interval(0.5, samples, n=1000, floor=0.0).lo == 0.0


def test_percentile_interval_contains_the_value() -> None:
    interval = stats.percentile_interval(9.0, np.arange(5.0), n=5)
    assert interval.hi == 9.0


@pytest.mark.parametrize("bad", [[], [1.0, float("nan")], [1.0, float("inf")], [[1.0]]])
def test_bootstrap_refuses_invalid_values(bad: list[object]) -> None:
    with pytest.raises(DataError):
        stats.mean_measure("x", bad, seed=0)  # type: ignore[arg-type]
    with pytest.raises(DataError):
        stats.paired_difference(bad, bad, seed=0)  # type: ignore[arg-type]


def test_bootstrap_refuses_invalid_settings() -> None:
    with pytest.raises(MeasureError):
        stats.bootstrap(lambda w: w.mean(axis=0), 0, seed=0)
    with pytest.raises(MeasureError):
        stats.mean_measure("x", [1.0, 2.0], seed=0, level=1.5)
    with pytest.raises(DataError):
        stats.paired_difference([1.0, 2.0], [1.0, 2.0, 3.0], seed=0)


def test_bootstrap_memory_is_bounded() -> None:
    values = np.random.default_rng(0).random(50_000)
    tracemalloc.start()
    stats.mean_measure("x", values, seed=0, bounds=(0, 1))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 80 * 2**20


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
