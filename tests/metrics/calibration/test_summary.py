"""Calibration measures against their own functions, coverage of their intervals, and the noise floor."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike

from suite.errors import DataError, MeasureError
from suite.metrics import calibration
from suite.metrics.blocks import row_blocks
from suite.metrics.calibration import (
    Predictions,
    Reliability,
    calibration_measures,
    ece_of_calibrated,
    event_measures,
)
from suite.metrics.calibration.events import ECE, ece_of_counts
from suite.metrics.calibration.resamples import Resamples
from suite.metrics.calibration.selective import aurc
from suite.metrics.calibration.summary import brier_scores, classwise_ece, classwise_ece_of_counts
from suite.metrics.stats.bootstrap import by_chunk
from suite.types import Measure

METRICS = [
    "ece",
    "ece_debiased_squared",
    "ece_noise_floor",
    "aurc",
    "classwise_ece",
    "nll",
    "brier",
    "accuracy",
]


def _draw(
    n: int, classes: int, temperature: float, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    clean = generator.normal(size=(n, classes)) * 2
    labels = (clean + generator.gumbel(size=(n, classes))).argmax(axis=1)
    logits = clean * temperature
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return logits, exponentials / exponentials.sum(axis=1, keepdims=True), labels


def _from_logits(logits: ArrayLike, labels: ArrayLike, **options: Any) -> list[Measure]:
    return calibration_measures(Predictions.from_logits(logits, labels), **{"seed": 0, "params": {}, **options})


def _from_probabilities(probabilities: ArrayLike, labels: ArrayLike, **options: Any) -> list[Measure]:
    predictions = Predictions.from_probabilities(probabilities, labels)
    return calibration_measures(predictions, **{"seed": 0, "params": {}, **options})


def _by_name(measures: list[Measure]) -> dict[str, Measure]:
    return {measure.metric: measure for measure in measures}


def test_all_lists_existing_names() -> None:
    assert sorted(calibration.__all__) == calibration.__all__
    assert all(hasattr(calibration, name) for name in calibration.__all__)


def test_every_measure_equals_its_own_function() -> None:
    logits, probabilities, labels = _draw(600, 7, 1.5, np.random.default_rng(0))
    result = _from_logits(logits, labels, seed=0, params={"split": "test"}, replicates=200)
    assert [measure.metric for measure in result] == METRICS
    named = _by_name(result)
    confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    state, predictions = Reliability.from_events(confidence, correct), Predictions.from_logits(logits, labels)
    expected = {
        "ece": state.ece(),
        "ece_debiased_squared": state.debiased_square().value,
        "aurc": aurc(confidence, correct),
        "classwise_ece": classwise_ece(predictions),
        "nll": -predictions.log_likelihood.mean(),
        "brier": brier_scores(predictions).mean(),
        "accuracy": correct.mean(),
    }
    for metric, value in expected.items():
        assert named[metric].value == pytest.approx(value, abs=1e-12), metric
    for measure in result:
        assert measure.lo is not None and measure.value is not None and measure.hi is not None
        assert measure.lo < measure.value < measure.hi
        assert measure.n == 600
        assert measure.params["split"] == "test"
    assert "(lo, hi]" in named["ece"].params["binning"]
    assert "expected plug-in" in named["ece"].params["covers"]


def test_seed_reproduces() -> None:
    logits, _, labels = _draw(100, 3, 1.0, np.random.default_rng(1))
    first, again, other = (_from_logits(logits, labels, seed=seed, params={}, replicates=50) for seed in (5, 5, 6))
    assert first == again
    assert first != other


def test_logits_and_probabilities_agree() -> None:
    logits, probabilities, labels = _draw(300, 4, 2.0, np.random.default_rng(2))
    one = _from_logits(logits, labels, seed=0, params={}, replicates=50)
    two = _from_probabilities(probabilities, labels, seed=0, params={}, replicates=50)
    for a, b in zip(one, two, strict=True):
        assert (a.value, a.lo, a.hi) == pytest.approx((b.value, b.lo, b.hi), abs=1e-9)


def test_replicates_equal_recomputation_on_the_resample() -> None:
    _, probabilities, labels = _draw(90, 4, 2.0, np.random.default_rng(3))
    confidence, correct = probabilities.max(axis=1), (probabilities.argmax(axis=1) == labels).astype(float)
    indices = np.random.default_rng(4).integers(0, 90, size=(20, 90))
    counts = np.stack([np.bincount(row, minlength=90) for row in indices], axis=1).astype(float)
    counts = np.concatenate([counts, np.ones((1, 20))])
    top, second = confidence.argmax(), np.argsort(probabilities[confidence.argmax()])[-2]
    more = [np.r_[row, top] for row in indices]  # the most confident sample again, and now it is wrong

    def plug_in(rows: np.ndarray, wrong_last: bool) -> float:
        own = correct[rows].copy()
        own[-1] *= not wrong_last
        return Reliability.from_events(confidence[rows], own).ece()

    def classwise(rows: np.ndarray, wrong_last: bool) -> float:
        own = labels[rows].copy()
        own[-1] = second if wrong_last else own[-1]
        return classwise_ece(Predictions.from_probabilities(probabilities[rows], own))

    for function, expected in (
        (ece_of_counts(confidence, correct, 15), plug_in),
        (classwise_ece_of_counts(Predictions.from_probabilities(probabilities, labels), 15), classwise),
    ):
        pairs = [[expected(row, False), expected(longer, True)] for row, longer in zip(indices, more, strict=True)]
        np.testing.assert_allclose(function(counts), pairs, atol=1e-12)


def test_statistics_do_not_depend_on_the_sum_of_the_weights() -> None:
    logits, probabilities, labels = _draw(60, 4, 2.0, np.random.default_rng(3))
    confidence, correct = probabilities.max(axis=1), (probabilities.argmax(axis=1) == labels).astype(float)
    weights = np.random.default_rng(5).exponential(size=(61, 7))
    for function in (
        ece_of_counts(confidence, correct, 15),
        classwise_ece_of_counts(Predictions.from_logits(logits, labels), 15),
    ):
        np.testing.assert_allclose(function(weights), function(3 * weights), atol=1e-12)


def test_weights_of_groups_are_those_of_their_samples() -> None:
    groups, seen = np.array([5, 5, 9, 2, 9]), []

    def statistic(weights: np.ndarray) -> np.ndarray:
        seen.append(weights)
        return np.stack([weights.sum(axis=0)] * 2, axis=1)

    Resamples.of(5, groups, 0, 20, 0.95).draws(statistic)
    weights = np.concatenate(seen, axis=1)
    assert weights.shape == (6, 20)
    assert (weights[0] == weights[1]).all() and (weights[2] == weights[4]).all()
    assert (weights[0] != weights[2]).all() and (weights[3] != weights[2]).all()


def test_groups_widen_the_intervals_and_are_counted() -> None:
    logits, _, labels = _draw(100, 4, 2.0, np.random.default_rng(6))
    logits, labels = np.repeat(logits, 4, axis=0), np.repeat(labels, 4)
    single = _by_name(_from_logits(logits, labels, replicates=300))
    grouped = _by_name(_from_logits(logits, labels, replicates=300, groups=np.repeat(np.arange(100), 4)))
    for metric in METRICS:
        one, other = single[metric], grouped[metric]
        assert (one.groups, other.groups, other.n) == (None, 100, 400)
        if metric != "ece_noise_floor":
            assert other.hi - other.lo > 1.4 * (one.hi - one.lo), metric  # type: ignore[operator]
    lone = _by_name(_from_logits(logits, labels, replicates=50, groups=np.zeros(400, int)))
    for metric in ("ece", "aurc", "classwise_ece", "nll", "brier", "accuracy"):
        assert (lone[metric].lo, lone[metric].status) == (None, "inconclusive")


def test_intervals_of_a_model_without_an_error_are_not_narrow() -> None:
    """With none of 50 wrong, 7 % may be; the upper ends say so."""
    logits = 6.0 * np.eye(5)[np.arange(50) % 5]
    named = _by_name(_from_logits(logits, np.arange(50) % 5, replicates=300))
    assert named["accuracy"].lo == pytest.approx(0.9289, abs=1e-4)
    for metric, least in (("ece", 0.05), ("aurc", 0.02), ("classwise_ece", 0.01), ("nll", 0.2), ("brier", 0.1)):
        assert named[metric].hi - named[metric].value > least, metric  # type: ignore[operator]


def test_nll_is_undefined_for_probability_zero() -> None:
    probabilities = np.array([[1.0, 0.0], [0.7, 0.3], [0.2, 0.8]])
    nll = _by_name(_from_probabilities(probabilities, [1, 0, 1], seed=0, params={}))["nll"]
    assert (nll.value, nll.lo, nll.hi) == (None, None, None)
    assert nll.reason is not None and "1 of 3" in nll.reason
    assert nll.status == "inconclusive"


def test_saturated_logits_do_not_crash() -> None:
    # Every confidence is exactly 1.
    labels = np.arange(60) % 3
    logits = 1e4 * np.eye(3)[np.where(np.arange(60) < 50, labels, (labels + 1) % 3)]
    named = _by_name(_from_logits(logits, labels, seed=0, params={}, replicates=100))
    assert named["ece"].value == pytest.approx(1 / 6)
    assert named["aurc"].value == pytest.approx(1 / 6)
    assert named["nll"].value == pytest.approx(1e4 / 6)
    assert named["ece"].params["distinguishable_from_calibrated"] is True
    assert "float" in str(type(named["brier"].value))


def test_one_sample_has_no_bootstrap_interval() -> None:
    named = _by_name(_from_logits([[1.0, 0.0]], [0], seed=0, params={}, replicates=20))
    for metric in ("ece", "aurc", "classwise_ece", "nll", "brier"):
        assert (named[metric].lo, named[metric].hi) == (None, None)
    assert named["ece_debiased_squared"].value is None
    assert named["accuracy"].lo is not None and named["accuracy"].lo < 0.3


def test_noise_floor_equals_a_plain_simulation() -> None:
    generator = np.random.default_rng(6)
    confidence = generator.uniform(0.3, 1.0, 500)
    loop = [Reliability.from_events(confidence, generator.random(500) < confidence).ece() for _ in range(1000)]
    floor = ece_of_calibrated(confidence, seed=0)
    assert floor.mean() == pytest.approx(np.mean(loop), rel=0.03)
    assert np.quantile(floor, 0.975) == pytest.approx(np.quantile(loop, 0.975), rel=0.06)
    assert 0.035 < floor.mean() < 0.055


def test_noise_floor_of_one_confidence_is_that_of_a_binomial() -> None:
    floor = ece_of_calibrated(np.full(10_000, 0.7), seed=1)
    assert floor.mean() == pytest.approx(np.sqrt(2 * 0.7 * 0.3 / (np.pi * 10_000)), rel=0.08)


def test_calibrated_models_are_rarely_called_distinguishable() -> None:
    generator = np.random.default_rng(7)
    calls = {0.0: 0, 0.15: 0}
    for gap in calls:
        for seed in range(200):
            confidence = generator.uniform(0.4, 1.0, 400)
            correct = generator.random(400) < confidence - gap
            measure = event_measures(confidence, correct, seed=seed, params={}, replicates=200)[0]
            calls[gap] += bool(measure.params["distinguishable_from_calibrated"])
    assert calls[0.0] <= 14  # 2.5 % of 200 is 5; more than 14 has a chance below 1e-3
    assert calls[0.15] >= 190


@pytest.mark.parametrize(("n", "gap"), [(200, 0.0), (500, 0.1)])
def test_ece_interval_covers_the_expected_plug_in(n: int, gap: float) -> None:
    generator = np.random.default_rng(8)

    def draw() -> tuple[np.ndarray, np.ndarray]:
        confidence = generator.uniform(0.4, 1.0, n)
        return confidence, (generator.random(n) < confidence - gap).astype(float)

    truth = np.mean([Reliability.from_events(*draw()).ece() for _ in range(2000)])
    hits, naive = [], []
    for seed in range(300):
        confidence, correct = draw()
        value = Reliability.from_events(confidence, correct).ece()
        resamples = Resamples.of(n, None, seed, 200, 0.95)
        (samples,) = resamples.draws(by_chunk(ece_of_counts(confidence, correct, 15)))
        interval = resamples.recentred(ECE, value, samples, {})
        assert interval.lo is not None and interval.hi is not None and 0 <= interval.lo <= value <= interval.hi
        hits.append(interval.lo <= truth <= interval.hi)
        lo, hi = np.quantile(samples[:, 0], [0.025, 0.975])
        naive.append(lo <= truth <= hi)
    assert 0.915 <= np.mean(hits)
    if gap == 0.0:
        # Resampling doubles the bias, so that percentile intervals cover less often.
        assert np.mean(naive) < np.mean(hits) - 0.05


def test_params_with_reserved_names_are_refused() -> None:
    with pytest.raises(MeasureError, match="bins"):
        _from_logits([[1.0, 0.0]], [0], seed=0, params={"bins": 10})


@pytest.mark.parametrize("measure", [_from_logits, _from_probabilities])
def test_invalid_input_is_refused(measure: Callable[..., list[Measure]]) -> None:
    for values, labels in (([[np.nan, 1.0]], [0]), ([[1.0, 0.0]], [0, 1]), (np.zeros((0, 2)), []), ([[1.0, 0.0]], [5])):
        with pytest.raises(DataError):
            measure(values, labels, seed=0, params={})


def test_top_label_ece_equals_netcal() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from netcal.metrics import ECE

        generator = np.random.default_rng(11)
        for seed in range(10):
            _, probabilities, labels = _draw(400, 5, 2.0, generator)
            ours = _from_probabilities(probabilities, labels, seed=seed, params={}, replicates=5)
            assert ours[0].value == pytest.approx(float(ECE(bins=15).measure(probabilities, labels)), abs=1e-12)


def test_importing_metrics_imports_neither_torch_nor_scipy() -> None:
    code = (
        "import sys, suite.metrics.calibration, suite.metrics.stats\n"
        "sys.exit(bool({'torch', 'scipy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_memory_does_not_grow_with_copies_of_the_probabilities() -> None:
    """Of 20,000 x 200 probabilities two float64 copies take 61 MiB; resampling weights alone take 64 MiB."""
    generator = np.random.default_rng(0)
    probabilities = generator.random((20_000, 200), np.float32)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    labels = generator.integers(0, 200, 20_000)
    tracemalloc.start()
    _from_probabilities(probabilities, labels, seed=0, params={}, replicates=40)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 80 * 2**20


def test_blocks_change_only_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, _, labels = _draw(300, 4, 2.0, np.random.default_rng(2))
    whole = _from_logits(logits, labels, seed=0, params={}, replicates=50)
    monkeypatch.setattr(row_blocks, "__defaults__", (64,))  # 16 samples a block
    blocks = _from_logits(logits, labels, seed=0, params={}, replicates=50)
    for one, other in zip(whole, blocks, strict=True):
        assert (one.value, one.lo, one.hi) == pytest.approx((other.value, other.lo, other.hi), abs=1e-13)
