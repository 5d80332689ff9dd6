"""Resampling counts: those of the indices in any grouping, kept for the next measure, within a bound."""

from __future__ import annotations

import numpy as np
import pytest

from suite.errors import MeasureError
from suite.metrics import stats
from suite.metrics.stats import counts as drawing
from suite.metrics.stats.bootstrap import bootstrap_counts, by_chunk
from suite.metrics.stats.counts import drawn_counts, resample_counts


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "_KEPT", drawing._Kept())


def test_counts_equal_those_of_the_indices(monkeypatch: pytest.MonkeyPatch) -> None:
    parts: list[np.ndarray] = []
    stats.bootstrap(lambda indices: parts.append(indices) or np.zeros(len(indices)), 30, seed=4, replicates=50)
    expected = np.stack([np.bincount(row, minlength=30) for row in np.concatenate(parts)], axis=1)
    (whole,) = drawn_counts(30, 4, 50)
    np.testing.assert_array_equal(whole, expected)
    monkeypatch.setattr(drawing, "CHUNK_BYTES", 8 * 30 * 7)  # seven resamples a chunk
    monkeypatch.setattr(drawing, "GROUP_BYTES", 30 * 15)  # two chunks a group
    groups = list(drawn_counts(30, 4, 50))
    assert [group.shape[1] for group in groups] == [14, 14, 14, 8]
    np.testing.assert_array_equal(np.concatenate(groups, axis=1), expected)


def test_chunks_are_the_same_in_every_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "CHUNK_BYTES", 8 * 30 * 7)
    sizes: list[list[int]] = []
    for limit in (30 * 15, 30 * 1000):
        monkeypatch.setattr(drawing, "GROUP_BYTES", limit)
        seen: list[int] = []
        counted = by_chunk(lambda part, seen=seen: seen.append(part.shape[1]) or part.sum(axis=0))  # type: ignore[misc]
        assert (bootstrap_counts(counted, 30, seed=0, replicates=50) == 30).all()
        sizes.append(seen)
    assert sizes == [[7] * 7 + [1]] * 2


def test_the_last_counts_are_kept_within_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "GROUP_BYTES", 2 * 20 * 10)
    (first,), (second,) = drawn_counts(20, 0, 10), drawn_counts(20, 1, 10)
    assert next(drawn_counts(20, 0, 10)) is first
    next(drawn_counts(20, 2, 10))
    assert next(drawn_counts(20, 0, 10)) is first  # used after the second, which therefore went
    again = next(drawn_counts(20, 1, 10))
    assert again is not second and np.array_equal(again, second)
    with pytest.raises(ValueError, match="read-only"):
        first[0, 0] = 1


def test_counts_of_no_samples_are_refused() -> None:
    for n, replicates in ((0, 5), (5, 0)):
        with pytest.raises(MeasureError, match="at least 1"):
            list(drawn_counts(n, 0, replicates))


def test_counts_count() -> None:
    assert resample_counts(np.array([[0, 0, 2], [1, 1, 1]])).T.tolist() == [[2, 0, 1], [0, 3, 0]]
