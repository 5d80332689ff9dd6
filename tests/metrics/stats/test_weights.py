"""Weights of resamples: the same in any grouping, kept for the next measure, within a bound."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest

from suite.errors import MeasureError
from suite.metrics.stats import weights as drawing
from suite.metrics.stats.bootstrap import bootstrap, by_chunk
from suite.metrics.stats.weights import drawn_weights


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "_KEPT", drawing._Kept())


def test_weights_are_exponential_and_the_same_in_every_grouping(monkeypatch: pytest.MonkeyPatch) -> None:
    (whole,) = drawn_weights(30, 4, 50)
    assert whole.shape == (30, 50)
    assert kstest(whole.ravel(), "expon").pvalue > 0.01
    monkeypatch.setattr(drawing, "CHUNK_BYTES", 8 * 30 * 7)  # seven resamples a chunk
    monkeypatch.setattr(drawing, "GROUP_BYTES", 4 * 30 * 14)  # two chunks a group
    groups = list(drawn_weights(30, 4, 50))
    assert [group.shape[1] for group in groups] == [14, 14, 14, 8]
    np.testing.assert_array_equal(np.concatenate(groups, axis=1), whole)


def test_chunks_of_a_statistic_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "CHUNK_BYTES", 8 * 30 * 7)
    seen: list[int] = []
    counted = by_chunk(lambda part: seen.append(part.shape[1]) or part.sum(axis=0))  # type: ignore[func-returns-value]
    sums = bootstrap(counted, 30, seed=0, replicates=50)
    assert seen == [7] * 7 + [1]
    np.testing.assert_allclose(sums, next(drawn_weights(30, 0, 50)).sum(axis=0, dtype=float), rtol=1e-6)


def test_the_last_weights_are_kept_within_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "GROUP_BYTES", 4 * 2 * 20 * 10)
    (first,), (second,) = drawn_weights(20, 0, 10), drawn_weights(20, 1, 10)
    assert next(drawn_weights(20, 0, 10)) is first
    next(drawn_weights(20, 2, 10))
    assert next(drawn_weights(20, 0, 10)) is first  # used after the second, which therefore went
    again = next(drawn_weights(20, 1, 10))
    assert again is not second and np.array_equal(again, second)
    with pytest.raises(ValueError, match="read-only"):
        first[0, 0] = 1


def test_weights_of_no_samples_are_refused() -> None:
    for n, replicates in ((0, 5), (5, 0)):
        with pytest.raises(MeasureError, match="at least 1"):
            list(drawn_weights(n, 0, replicates))
