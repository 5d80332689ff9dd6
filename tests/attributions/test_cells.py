"""Cells cover the image, and ties in a map are not broken in its favor."""

import pytest
import torch

from suite.attributions.maps.cells import Grid, rank_cells
from suite.errors import MeasureError


@pytest.mark.parametrize(("side", "cell"), [(1, 1), (8, 1), (28, 2), (32, 2), (33, 3), (224, 14)])
def test_the_number_of_cells_is_bounded(side, cell):
    grid = Grid.fit(side, side)
    assert grid.cell == cell
    assert grid.count <= 256


def test_pool_sums_each_cell_and_spread_repeats_it():
    grid = Grid(3, 5, 2)
    maps = torch.arange(15.0).reshape(1, 3, 5)
    assert grid.shape == (2, 3)
    assert grid.pool(maps).tolist() == [[0 + 1 + 5 + 6, 2 + 3 + 7 + 8, 4 + 9, 10 + 11, 12 + 13, 14]]
    assert grid.spread(torch.arange(6)[None])[0].tolist() == [[0, 0, 1, 1, 2], [0, 0, 1, 1, 2], [3, 3, 4, 4, 5]]


def test_pool_refuses_maps_of_the_wrong_size():
    with pytest.raises(MeasureError, match=r"\(1, 4, 4\); expected \(n, 3, 5\)"):
        Grid(3, 5, 2).pool(torch.zeros(1, 4, 4))


def test_ranks_follow_descending_values():
    assert rank_cells(torch.tensor([[0.1, -3.0, 2.0, 0.5]]), [0]).tolist() == [[2, 3, 0, 1]]


def test_ties_are_broken_at_random_by_the_seed_of_the_sample():
    constant = torch.ones(200, 9, dtype=torch.float64)
    ranks = rank_cells(constant, range(200))
    assert (ranks.sort(1).values == torch.arange(9)).all()
    assert (ranks.double().mean(0) - 4).abs().max() < 0.75  # the standard error is 0.18
    assert torch.equal(rank_cells(constant[:3], [5, 6, 7]), ranks[5:8])


def test_rounding_differences_are_ties():
    constant = torch.ones(4, 9, dtype=torch.float64)
    noise = torch.linspace(0, 1e-9, 9, dtype=torch.float64)
    assert torch.equal(rank_cells(constant + noise, range(4)), rank_cells(constant, range(4)))
    assert torch.equal(rank_cells(constant * 0, range(4)), rank_cells(constant, range(4)))
