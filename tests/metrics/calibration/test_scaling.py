"""Temperature scaling against a known temperature, scipy's optimizer, and netcal in float32."""

from __future__ import annotations

import tracemalloc
import warnings

import numpy as np
import pytest
from scipy.optimize import brentq, minimize_scalar

from suite.errors import DataError
from suite.metrics.calibration import (
    Predictions,
    Reliability,
    fit_temperature,
    temperature_ends,
    temperature_interval,
)
from suite.metrics.stats.weights import drawn_weights


def _nll(logits: np.ndarray, labels: np.ndarray) -> float:
    return float(-Predictions.from_logits(logits, labels).log_likelihood.mean())


def _draw(temperature: float, n: int = 4000, classes: int = 10, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(n, classes)) * 2
    noise = generator.gumbel(size=(n, classes))
    return logits * temperature, (logits + noise).argmax(axis=1)


@pytest.mark.parametrize("temperature", [0.1, 0.3, 1.0, 3.0, 6.0, 20.0])
@pytest.mark.parametrize("classes", [2, 10])
def test_newton_finds_the_true_temperature_in_few_steps(temperature: float, classes: int) -> None:
    logits, labels = _draw(temperature, classes=classes)
    fit = fit_temperature(logits, labels)
    assert fit.converged and fit.reason is None
    assert fit.value == pytest.approx(temperature, rel=0.1)
    assert abs(fit.gradient) <= 1e-10
    assert fit.steps <= 10


def test_temperature_equals_scipy() -> None:
    logits, labels = _draw(3.0)
    best = minimize_scalar(
        lambda t: _nll(logits / t, labels), bounds=(1, 10), method="bounded", options={"xatol": 1e-10}
    )
    fit = fit_temperature(logits, labels)
    assert fit.value == pytest.approx(best.x, rel=1e-6)
    assert fit.nll_after == pytest.approx(best.fun, abs=1e-12)
    assert fit.nll_before == pytest.approx(_nll(logits, labels), abs=1e-12)


def test_gradient_equals_finite_differences() -> None:
    logits, _ = _draw(1.0, n=50)
    fit = fit_temperature(logits, np.zeros(50, dtype=int))
    beta, step = 1 / fit.value, 1e-5
    numeric = np.subtract(*(_nll(logits * (beta + s), np.zeros(50, int)) for s in (step, -step)))
    assert fit.gradient == pytest.approx(numeric / (2 * step), abs=1e-5)


@pytest.mark.parametrize("temperature", [0.1, 2.0, 20.0])
def test_float32_agrees_with_float64(temperature: float) -> None:
    logits, labels = _draw(temperature)
    wide, narrow = fit_temperature(logits, labels), fit_temperature(logits.astype(np.float32), labels)
    assert narrow.value == pytest.approx(wide.value, rel=1e-4)


def test_nll_never_exceeds_that_without_scaling() -> None:
    generator = np.random.default_rng(5)
    for seed in range(60):
        logits = generator.normal(size=(7, 3)) * 10 ** generator.uniform(-3, 3)
        fit = fit_temperature(logits, np.random.default_rng(seed).integers(0, 3, 7))
        assert fit.nll_after <= fit.nll_before
        assert 0.01 <= fit.value <= 100
        assert fit.converged == (fit.reason is None)


def test_rounding_near_the_optimum_does_not_increase_the_nll() -> None:
    for seed in range(100):
        logits, labels = _draw(1.0, n=30, seed=seed)
        fit = fit_temperature(logits, labels)
        if fit.converged:
            again = fit_temperature(logits / fit.value * (1 + 1e-9), labels)
            assert again.nll_after <= again.nll_before
            assert again.value == pytest.approx(1.0, abs=1e-8)


def test_separable_labels_are_flagged() -> None:
    logits = np.random.default_rng(6).normal(size=(50, 4))
    fit = fit_temperature(logits, logits.argmax(axis=1))
    assert (fit.value, fit.converged) == (0.01, False)
    assert fit.reason is not None and "T -> 0" in fit.reason


def test_labels_worse_than_chance_are_flagged() -> None:
    logits = np.random.default_rng(6).normal(size=(50, 4))
    fit = fit_temperature(logits, logits.argmin(axis=1))
    assert (fit.value, fit.converged) == (100.0, False)
    assert fit.reason is not None and "infinity" in fit.reason


def test_optimum_outside_the_range_is_flagged() -> None:
    logits, labels = _draw(5000.0)
    fit = fit_temperature(logits, labels)
    assert fit.value == pytest.approx(100.0)
    assert not fit.converged and fit.reason is not None and "outside" in fit.reason


def test_constant_logits_do_not_crash() -> None:
    fit = fit_temperature(np.zeros((4, 3)), [0, 1, 2, 0])
    assert not fit.converged and fit.value == 1.0
    assert fit.nll_after == pytest.approx(np.log(3))
    assert fit.reason is not None and fit.reason.startswith("all logits of a row are equal")


@pytest.mark.parametrize("scale", [1e-4, 1e-9, 1e-30])
def test_the_temperature_of_tiny_logits_lies_outside_the_range(scale: float) -> None:
    logits, labels = _draw(1.0)
    fit = fit_temperature(logits * scale, labels)
    assert not fit.converged and fit.value == pytest.approx(0.01)
    assert fit.reason is not None and "outside" in fit.reason


def test_invalid_input_is_refused() -> None:
    for logits, labels in (([[np.nan, 0.0]], [0]), ([[1.0, 0.0]], [2]), (np.zeros((0, 2)), [])):
        with pytest.raises(DataError):
            fit_temperature(logits, labels)


def _softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def test_float32_works_where_netcal_does_nothing() -> None:
    # The finite differences of netcal vanish in float32.
    logits, labels = _draw(3.0, n=2000)

    def netcal_ece(dtype: type) -> float:
        from netcal.scaling import TemperatureScaling

        probabilities = _softmax(logits).astype(dtype)
        scaled = np.asarray(TemperatureScaling().fit_transform(probabilities, labels), dtype=np.float64)
        return Reliability.from_events(np.clip(scaled.max(axis=1), 0, 1), scaled.argmax(axis=1) == labels).ece()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        narrow, wide = netcal_ece(np.float32), netcal_ece(np.float64)
    before = _softmax(logits)
    after = _softmax(logits / fit_temperature(logits.astype(np.float32), labels).value)
    raw, ours = (Reliability.from_events(p.max(axis=1), p.argmax(axis=1) == labels).ece() for p in (before, after))
    assert narrow == pytest.approx(raw, abs=1e-3)
    assert wide < raw / 3
    assert ours == pytest.approx(wide, abs=5e-3)


@pytest.mark.parametrize(("temperature", "misspecified"), [(0.5, False), (3.0, False), (2.0, True)])
def test_interval_covers_the_true_temperature(temperature: float, misspecified: bool) -> None:
    def draw(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        logits, labels = _draw(temperature, n=n, classes=5, seed=seed)
        if misspecified:  # no single temperature calibrates these: each sample is overconfident by its own factor
            logits = logits * np.random.default_rng(seed + 1).uniform(0.3, 3, size=(n, 1))
        return logits, labels

    truth = fit_temperature(*draw(200_000, 10**6)).value
    covered = 0
    for seed in range(300):
        logits, labels = draw(400, 2 * seed)
        value = fit_temperature(logits, labels).value
        lo, hi = temperature_interval(value, temperature_ends(logits, labels, value))
        covered += lo <= truth <= hi
    assert 0.92 <= covered / 300 <= 0.99


def test_ends_equal_those_of_temperatures_fitted_to_weighted_samples() -> None:
    """The solutions in the Bayesian bootstrap, found here by scipy for each resample."""
    logits, labels = _draw(2.0, n=60, classes=3)
    value = fit_temperature(logits, labels).value
    ends = temperature_ends(logits, labels, value)
    weights = next(drawn_weights(61, 0, 1000))
    peaks = logits - logits.max(axis=1, keepdims=True)
    own, second = peaks[np.arange(60), labels], np.sort(peaks, axis=1)[:, -2]

    def gradient(beta: float, row: np.ndarray, upper: bool) -> float:
        expected = (_softmax(beta * peaks) * peaks).sum(axis=1)
        imagined = max((expected - own).max(), np.median(expected - second)) if upper else (expected - own).min()
        return float(row[:-1] @ (expected - own) + row[-1] * imagined)

    for name, upper, tail in (("lo", False, 0.975), ("hi", True, 0.025)):
        roots = [
            brentq(gradient, 0.05, 5, args=(row, upper), xtol=1e-8) for row in weights[:, :300].T.astype(np.float64)
        ]
        assert ends[name][ends["tails"].index(0.025)] == pytest.approx(1 / np.quantile(roots, tail), rel=0.06)


def test_interval_widens_with_the_level_and_with_groups() -> None:
    logits, labels = _draw(2.0, n=300)
    value = fit_temperature(logits, labels).value
    ends = temperature_ends(logits, labels, value)
    (lo, hi), (low, high) = (temperature_interval(value, ends, level) for level in (0.9, 0.99))
    assert low < lo < value < hi < high
    assert temperature_interval(value, ends, 0.95) == pytest.approx((ends["lo"][5], ends["hi"][5]))
    copied = temperature_ends(np.repeat(logits, 4, axis=0), np.repeat(labels, 4), value, np.repeat(np.arange(300), 4))
    wide = temperature_interval(value, copied)
    assert np.log(wide[1] / wide[0]) == pytest.approx(np.log(ends["hi"][5] / ends["lo"][5]), rel=0.1)


def test_ends_without_a_solution_are_those_of_the_range() -> None:
    """The one error is only just wrong, and in a group without it every temperature would be too high."""
    logits, labels = 4.0 * np.eye(3)[np.arange(12) % 3], np.arange(12) % 3
    logits[0] = [1.0, 1.1, 0.0]
    value = fit_temperature(logits, labels).value
    ends = temperature_ends(logits, labels, value, np.arange(12) // 4)
    assert np.isfinite([ends["lo"], ends["hi"]]).all()
    lo, hi = temperature_interval(value, ends, 0.99)
    assert 0.01 <= lo < value < hi <= 100


def test_interval_of_few_errors_reaches_far() -> None:
    """One wrong of 40 says little about the confidence of errors."""
    logits = 4.0 * np.eye(4)[np.arange(40) % 4] + np.linspace(0, 1, 40)[:, None] * np.eye(4)[0]
    labels = np.r_[1, np.arange(1, 40) % 4]
    value = fit_temperature(logits, labels).value
    lo, hi = temperature_interval(value, temperature_ends(logits, labels, value))
    assert lo < 0.75 * value and hi > 1.5 * value


def test_memory_of_a_fit_is_that_of_a_few_blocks() -> None:
    """The logits take 31 MiB in float64, and a fit without blocks holds five such arrays; resamples take 16 MiB."""
    generator = np.random.default_rng(0)
    logits, labels = generator.standard_normal((4000, 1000), np.float32), generator.integers(0, 1000, 4000)
    logits[np.arange(4000), labels] += 4 * (generator.random(4000) < 0.5)
    tracemalloc.start()
    fit = fit_temperature(logits, labels)
    temperature_ends(logits, labels, fit.value)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert fit.converged
    assert peak < 64 * 2**20
