"""Reliability bins: netcal, small examples, dtypes, and bias and coverage of the debiased error."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from suite.errors import DataError, MeasureError
from suite.metrics.calibration import Diagram, Reliability
from suite.metrics.calibration.bins import bin_index
from suite.metrics.calibration.debiased import Gaps, Spread
from suite.metrics.calibration.top import TOP_ELEMENTS, top_labels


@pytest.fixture(scope="module")
def netcal_ece() -> Callable[..., float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from netcal.metrics import ECE

        measure = ECE(bins=15)

    def call(confidence: np.ndarray, correct: np.ndarray) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return float(measure.measure(confidence, correct.astype(int)))

    return call


def test_edges_belong_to_the_lower_bin() -> None:
    for bins in (1, 2, 10, 15, 100):
        edges = np.arange(bins + 1) / bins
        assert bin_index(edges, bins).tolist() == [0, *range(bins)]
        assert bin_index(np.nextafter(edges[:-1], 1), bins).tolist() == list(range(bins))


def test_bin_index_equals_comparison_with_every_edge() -> None:
    confidence = np.random.default_rng(0).random(20_000).astype(np.float16).astype(np.float64)
    edges = np.arange(16) / 15
    expected = np.maximum((confidence[:, None] > edges).sum(axis=1) - 1, 0)
    assert np.array_equal(bin_index(confidence, 15), expected)


def test_bins_of_a_small_example() -> None:
    state = Reliability.from_events([0.1, 0.2, 0.9, 1.0], [0, 1, 1, 1], bins=2)
    assert state.counts.tolist() == [2, 2]
    assert state.ece() == pytest.approx((abs(1 - 0.3) + abs(2 - 1.9)) / 4)
    diagram = Diagram(state).to_json()
    assert diagram["confidence"] == pytest.approx([0.15, 0.95])
    assert diagram["accuracy"] == [0.5, 1.0]
    assert diagram["edges"] == [0.0, 0.5, 1.0]
    assert diagram["count"] == [2, 2]
    assert diagram["events"] == "samples"
    assert Diagram(state, "pixels").to_json()["events"] == "pixels"


def test_diagrams_of_parts_add_up_to_that_of_all() -> None:
    confidence, correct = [0.1, 0.2, 0.9, 1.0], [0, 1, 1, 0]
    whole, first, second = (
        Diagram(Reliability.from_events(confidence[part], correct[part], bins=2))
        for part in (slice(None), slice(0, 3), slice(3, None))
    )
    assert (first + second).to_json() == whole.to_json()
    assert Diagram(Reliability(*np.zeros((3, 2)))).to_json() == {}


def test_diagram_has_no_mean_for_an_empty_bin() -> None:
    diagram = Diagram(Reliability.from_events([0.1, 0.2], [0, 1], bins=2)).to_json()
    assert diagram["accuracy"] == [0.5, None]
    assert diagram["confidence"][1] is None


def test_ece_equals_netcal_for_top_label(netcal_ece: Callable[..., float]) -> None:
    generator = np.random.default_rng(1)
    for _ in range(40):
        probabilities = generator.dirichlet(np.ones(6) * 0.3, size=400)
        labels = generator.integers(0, 6, 400)
        confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
        ours = Reliability.from_events(confidence, correct).ece()
        assert ours == pytest.approx(netcal_ece(probabilities, labels), abs=1e-12)


def test_ece_equals_netcal_for_binary_events(netcal_ece: Callable[..., float]) -> None:
    generator = np.random.default_rng(2)
    for _ in range(100):
        confidence = generator.random(300)
        correct = generator.random(300) < confidence**2
        assert Reliability.from_events(confidence, correct).ece() == pytest.approx(
            netcal_ece(confidence, correct), abs=1e-12
        )


def test_confidence_one_stays_in_the_last_bin() -> None:
    # A separate bin for exactly 1.0 would give 0.125 here.
    confidence = np.repeat([0.95, 1.0], 500)
    correct = np.concatenate([np.arange(500) < 500, np.arange(500) < 400])
    state = Reliability.from_events(confidence, correct)
    assert state.counts[-1] == 1000
    assert state.ece() == pytest.approx(0.075)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_result_does_not_depend_on_the_dtype(dtype: type) -> None:
    # In float16 arithmetic the sums would overflow at n = 1e5.
    generator = np.random.default_rng(3)
    confidence = generator.random(100_000)
    correct = generator.random(100_000) < confidence - 0.05 * (confidence > 0.05)
    reference = Reliability.from_events(confidence, correct).ece()
    result = Reliability.from_events(confidence.astype(dtype), correct)
    assert result.ece() == pytest.approx(reference, abs=2**-11)
    assert result.counts.sum() == 100_000
    assert Reliability.from_events(confidence.astype(dtype).astype(np.float64), correct).ece() == result.ece()


def test_sums_of_many_equal_terms_are_accurate() -> None:
    state = Reliability.from_events(np.full(3_000_000, 0.1), np.zeros(3_000_000, dtype=bool))
    assert state.confidence_sums.sum() == pytest.approx(300_000.0, rel=1e-12)


def test_arrays_are_read_only() -> None:
    state = Reliability.from_events([0.5], [1])
    with pytest.raises(ValueError, match="read-only"):
        state.counts[0] = 7


@pytest.mark.parametrize(
    ("confidence", "correct"),
    [
        ([], []),
        ([0.5, np.nan], [0, 1]),
        ([1.0001], [1]),
        ([-0.1], [1]),
        ([0.5, 0.5], [1]),
        ([0.5], [2]),
        ([0.5], [np.nan]),
        ([[0.5]], [[1]]),
        (["x"], [1]),
        ([0.5 + 1j], [1]),
    ],
)
def test_invalid_events_are_refused(confidence: list[object], correct: list[object]) -> None:
    with pytest.raises(DataError):
        Reliability.from_events(confidence, correct)  # type: ignore[arg-type]


def test_invalid_states_are_refused() -> None:
    empty = Reliability(np.zeros(15, np.int64), np.zeros(15), np.zeros(15))
    for read in (empty.ece, empty.debiased_square):
        with pytest.raises(DataError):
            read()
    with pytest.raises(MeasureError):
        Reliability.from_events([0.5], [1], bins=0)
    with pytest.raises(DataError):
        Reliability(np.zeros(2, np.int64), np.zeros(3), np.zeros(2))


def test_debiased_square_of_a_small_example() -> None:
    # One bin, n = 4, mean confidence .8, accuracy .5: (.3)^2 - .25/3.
    estimate = Reliability.from_events([0.8] * 4, [1, 1, 0, 0], bins=1).debiased_square()
    assert estimate.value == pytest.approx(0.09 - 0.25 / 3)
    assert estimate.lo is not None and estimate.hi is not None
    assert estimate.lo < estimate.value < estimate.hi


def test_bins_of_one_sample_are_left_out_and_counted() -> None:
    estimate = Reliability.from_events([0.1, 0.9, 0.9, 0.9], [1, 1, 1, 0], bins=2).debiased_square()
    assert estimate.singletons == 1
    assert estimate.value == pytest.approx(0.75 * ((2 / 3 - 0.9) ** 2 - (2 / 9) / 2))
    alone = Reliability.from_events([0.1, 0.9], [1, 1], bins=2).debiased_square()
    assert (alone.value, alone.lo, alone.hi, alone.singletons) == (None, None, None, 2)


def test_debiased_square_of_only_correct_outcomes_has_an_interval() -> None:
    estimate = Reliability.from_events(np.full(100, 0.99), np.ones(100)).debiased_square()
    assert estimate.lo is not None and estimate.hi is not None
    assert estimate.hi - estimate.lo > 1e-4


def _simulate(n: int, gap: float, draws: int, saturated: bool = False) -> tuple[float, float]:
    """Return bias and coverage of the debiased square where accuracy = confidence - gap."""
    generator = np.random.default_rng(10)
    values, hits = [], []
    for _ in range(draws):
        confidence = generator.beta(30, 0.3, n) if saturated else generator.uniform(0.4, 1.0, n)
        correct = generator.random(n) < np.maximum(confidence - gap, 0)
        estimate = Reliability.from_events(confidence, correct).debiased_square()
        assert estimate.value is not None and estimate.lo is not None and estimate.hi is not None
        values.append(estimate.value)
        hits.append(estimate.lo <= gap**2 <= estimate.hi)
    return float(np.mean(values)) - gap**2, float(np.mean(hits))


@pytest.mark.parametrize("gap", [0.0, 0.05, 0.1])
def test_debiased_square_is_unbiased_and_covers(gap: float) -> None:
    bias, coverage = _simulate(500, gap, 1000)
    assert abs(bias) <= 3e-4
    assert 0.93 <= coverage <= 0.995


def test_debiased_square_covers_where_the_gap_lies_in_few_bins() -> None:
    """A common error for all bins covers 78 % here: the gap belongs to the few samples of low confidence."""
    generator, hits = np.random.default_rng(11), []
    for _ in range(400):
        confidence = np.where(generator.random(5000) < 0.9, 0.99, 0.7)
        correct = generator.random(5000) < np.where(confidence > 0.9, 0.99, 0.5)
        estimate = Reliability.from_events(confidence, correct).debiased_square()
        assert estimate.lo is not None and estimate.hi is not None
        hits.append(estimate.lo <= 0.1 * 0.2**2 <= estimate.hi)
    assert 0.92 <= np.mean(hits) <= 0.99


@pytest.mark.parametrize("value", [-0.004, -0.001, 0.0, 0.002, 0.5])
def test_score_interval_ends_solve_their_equations(value: float) -> None:
    spread, z = Spread(1e-5, 3e-3, 4e-8, 1e-6), 1.959964
    lo, hi = spread.interval(value, z)
    assert lo < value < hi
    assert (value - hi) ** 2 == pytest.approx(z**2 * (1e-5 + 3e-3 * hi), rel=1e-5)
    variance = 1e-5 + 3e-3 * max(lo, 0)
    skewness = (4e-8 + 1e-6 * max(lo, 0)) / variance**1.5
    gamma = (stats.gamma.ppf(0.975, 4 / skewness**2) - 4 / skewness**2) / (2 / skewness)
    assert value - lo == pytest.approx(gamma * variance**0.5, rel=0.01)


def test_score_interval_of_an_error_far_below_zero_reaches_zero() -> None:
    assert Spread(1e-6, 1e-3, 1e-10, 1e-7).interval(-0.03, 1.96)[1] == 0.0


def test_gaps_of_groups_of_one_are_those_of_independent_samples() -> None:
    generator = np.random.default_rng(12)
    confidence = np.repeat([0.55, 0.75, 0.95], 200)
    correct = (generator.random(600) < confidence - 0.1).astype(float)
    state = Reliability.from_events(confidence, correct)
    one = Gaps.of_counts(state.counts, state.confidence_sums, state.correct_sums)
    other = Gaps.of_groups(bin_index(confidence, 15), confidence, correct, np.arange(600))
    for name in ("share", "gap", "noise", "units", "singletons"):
        np.testing.assert_allclose(getattr(other, name), getattr(one, name), atol=1e-12)
    # Samples of different bins share no group, and a covariance across bins is that of the groups' sums.
    np.testing.assert_allclose(other.covariance, one.covariance, atol=1e-12)


def test_copies_of_samples_do_not_change_the_debiased_square() -> None:
    generator = np.random.default_rng(13)
    confidence = generator.uniform(0.4, 1.0, 300)
    correct = (generator.random(300) < confidence - 0.1).astype(float)
    once, thrice = (
        Gaps.of_groups(
            bin_index(np.repeat(confidence, k), 15),
            np.repeat(confidence, k),
            np.repeat(correct, k),
            np.repeat(np.arange(300), k),
        )
        for k in (1, 3)
    )
    assert once.square(0.95).value == pytest.approx(thrice.square(0.95).value)
    assert once.square(0.95).lo == pytest.approx(thrice.square(0.95).lo, abs=2e-3)


def test_debiased_square_covers_at_saturated_confidences() -> None:
    assert _simulate(500, 0.0, 1000, saturated=True)[1] >= 0.93


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_top_labels_equal_max_and_argmax_with_ties(dtype: type) -> None:
    generator = np.random.default_rng(0)
    rows = generator.dirichlet(np.ones(4), TOP_ELEMENTS // 4 + 100).astype(dtype)  # more than one block
    rows[7:20] = [0.375, 0.125, 0.125, 0.375]
    labels = generator.integers(0, 4, len(rows))
    labels[7:11] = [0, 3, 1, 0]
    for given in (rows, np.asfortranarray(rows)):
        confidence, correct = top_labels(given, labels)
        np.testing.assert_array_equal(confidence, rows.max(axis=1))
        np.testing.assert_array_equal(correct, rows.argmax(axis=1) == labels)
        assert confidence.dtype == dtype
    assert correct[7:11].tolist() == [True, False, False, True]
    state = Reliability.from_probabilities(rows, labels)
    expected = Reliability.from_events(rows.max(axis=1), rows.argmax(axis=1) == labels)
    assert state.ece() == expected.ece()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([0.5, np.nan], "not finite"),
        ([np.inf, 0.5], "not finite"),
        ([-0.1, 1.1], r"\[-0.1, 1.1\]"),
        ([0.5, 0.502], "0.002 away from 1"),
        ([1.0], "at least two classes"),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bins_of_no_distribution_are_refused(row: list[float], message: str, dtype: type) -> None:
    rows = np.array([[1.0, 0.0][: len(row)], row], dtype)
    with pytest.raises(DataError, match=message):
        Reliability.from_probabilities(rows, [0, 0])


def test_distributions_within_rounding_are_accepted_and_labels_checked() -> None:
    assert Reliability.from_probabilities([[0.5, 0.5008], [1.0, 0.0]], [1, 0]).n == 2
    assert Reliability.from_probabilities(np.float16([[0.5, 0.504]]), [1]).n == 1
    assert Reliability.from_probabilities([[0, 1], [1, 0]], [1, 1]).ece() == 0.5
    with pytest.raises(DataError, match="labels"):
        Reliability.from_probabilities([[0.5, 0.5]], [2])
