"""Stored adversarial inputs: those of several cohorts add up to what one cohort of all samples stores."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from suite.axes.robustness import inputs
from suite.axes.robustness.inputs import FoundInputs
from suite.data.digests import in_digest_order


@dataclass
class Ids:
    """The ids of a context."""

    ids: Any


@dataclass
class Swept:
    """What a sweep found, without a model."""

    context: Ids
    adversarial: torch.Tensor
    found_at: Any
    found_by: Any

    @property
    def found(self):
        """The rows with an adversarial example."""
        return np.flatnonzero(~np.isnan(self.found_at))

    def take(self, rows):
        """Return the sweep of some samples."""
        own = Ids(self.context.ids[rows]), self.adversarial[torch.from_numpy(rows)]
        return Swept(*own, self.found_at[rows], self.found_by[rows])


def swept(count=90):
    """Return a sweep of inputs of 16 bytes, found at one of three sizes or not at all."""
    generator = np.random.default_rng(0)
    ids = np.array([f"s{row}" for row in range(count)], dtype=object)
    found_at = generator.choice([0.1, 0.2, 0.3, np.nan], count, p=[0.1, 0.2, 0.5, 0.2])
    stages = generator.choice(["first", "second"], count).astype(object)
    return Swept(Ids(ids), torch.arange(4.0 * count).view(count, 1, 2, 2), found_at, stages)


def by_hand(sweep, limit):
    """Return the ids of the first `limit` samples of each size in digest order."""
    chosen = set()
    for size in (0.1, 0.2, 0.3):
        names = sweep.context.ids[sweep.found_at == size].tolist()
        chosen |= {names[row] for row in in_digest_order(names)[:limit]}
    return chosen


def same(one, other):
    """Return whether two collections hold the same inputs, in any order."""
    orders = np.argsort(one.ids.astype(str)), np.argsort(other.ids.astype(str))
    parts = ("ids", "sizes", "stages", "values")
    return all(np.array_equal(getattr(one, name)[orders[0]], getattr(other, name)[orders[1]]) for name in parts)


@pytest.mark.parametrize("parts", [2, 7])
@pytest.mark.parametrize(
    ("per_size", "most_bytes", "limit"),
    [
        (256, 2**20, 256),  # no limit binds
        (5, 2**20, 5),
        (256, 16 * 30, 10),  # 30 inputs: of the rarest size, 9 to 11 were found
        (256, 16 * 3, 1),
        (256, 15, 0),
    ],
)
def test_inputs_of_cohorts_add_up_to_those_of_one(monkeypatch, parts, per_size, most_bytes, limit):
    monkeypatch.setattr(inputs, "PER_SIZE", per_size)
    monkeypatch.setattr(inputs, "MOST_BYTES", most_bytes)
    sweep = swept()
    counts = [int((sweep.found_at == size).sum()) for size in (0.1, 0.2, 0.3)]
    whole = FoundInputs.of(sweep, shown=True)
    rows = np.random.default_rng(1).permutation(90)
    first, *others = (FoundInputs.of(sweep.take(np.sort(part)), shown=True) for part in np.array_split(rows, parts))
    total = first
    for part in others:
        total = total + part
    if most_bytes == 16 * 30:
        limit = next(n for n in range(256, -1, -1) if sum(min(count, n) for count in counts) <= 30)
    assert set(whole.ids) == by_hand(sweep, limit)
    assert same(total, whole)
    assert total.counts == whole.counts == dict(zip((0.1, 0.2, 0.3), counts, strict=True))
    assert total.to_json() == whole.to_json() == {"stored": len(whole.ids), "found": sum(counts), "limit": limit}
    for name, size, stage, value in zip(whole.ids, whole.sizes, whole.stages, whole.values, strict=True):
        row = int(name[1:])
        assert (size, stage) == (sweep.found_at[row], sweep.found_by[row])
        np.testing.assert_array_equal(value, sweep.adversarial[row].numpy())


def test_inputs_that_cannot_be_shown_are_only_counted():
    sweep = swept()
    halves = [sweep.take(rows) for rows in (np.arange(45), np.arange(45, 90))]
    total = FoundInputs.of(halves[0], shown=False) + FoundInputs.of(halves[1], shown=False)
    assert total.to_json() == {"stored": 0, "found": len(sweep.found), "limit": 0}


def test_a_cohort_without_any_found_input_adds_nothing():
    sweep = swept()
    nothing = np.flatnonzero(np.isnan(sweep.found_at))
    whole = FoundInputs.of(sweep, shown=True)
    total = FoundInputs.of(sweep.take(nothing), shown=True) + FoundInputs.of(sweep.take(sweep.found), shown=True)
    assert same(total, whole) and total.counts == whole.counts
