"""Localization of maps by hand; context curves against a loop, and on models with known use of context."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch

from suite.attributions.maps.baselines import blur
from suite.attributions.maps.cells import Grid, rank_cells
from suite.attributions.maps.explained import Explained
from suite.attributions.maps.faithfulness import CONTROL, Settings, evaluate
from suite.attributions.maps.localization import context_kept, context_rows, energy_inside, pointing_game
from suite.errors import MeasureError
from tests.attributions.measured import measures_of

torch.set_num_threads(1)
SIDE, COUNT = 8, 80
INPUTS = torch.rand(COUNT, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0)).double()
CORNER = (slice(None), slice(0, 2), slice(0, 2))  # a cue outside the object
WHERE = ("pointing_game", "energy_inside")


def box(count=COUNT, top=4, left=4, bottom=8, right=8):
    region = torch.zeros(count, SIDE, SIDE, dtype=torch.bool)
    region[:, top:bottom, left:right] = True
    return region


def spot(place):
    """Return a score that is the contrast of one part of the image."""
    return lambda x, rows: x[:, 0][place].flatten(1).std(1)


def explain(score, region, count=COUNT, **fields):
    return Explained(INPUTS[:count], score, score, seeds=range(50, 50 + count), region=region, **fields)


@dataclass(frozen=True)
class Points:
    """A map that is 1 on the cue or on the object and 0 elsewhere."""

    corner: bool
    magnitude: ClassVar[bool] = False
    local: ClassVar[bool] = False

    def __call__(self, explained):
        maps = torch.zeros_like(explained.inputs)
        maps[:, 0][CORNER if self.corner else (slice(None), slice(4, 8), slice(4, 8))] = 1
        return maps


METHODS = {"cue": Points(True), "object": Points(False)}


def listed(result):
    return {(m.params["method"], m.metric, m.params["baseline"]): m for m in measures_of(result)}


def test_pointing_game_uses_the_largest_value():
    region = torch.tensor([[[True, False], [False, False]]]).expand(4, -1, -1)
    maps = torch.tensor([[3.0, 2, 1, -9], [2, 3, 1, -9], [3, 3, 1, 3], [-1, -2, -3, -4]]).reshape(4, 2, 2)
    assert pointing_game(maps, region).tolist() == [1, 0, pytest.approx(1 / 3), 1]


def test_pointing_game_has_no_tolerance():
    maps = torch.zeros(2, SIDE, SIDE)
    maps[0, 3, 4] = maps[1, 4, 4] = 1
    assert pointing_game(maps, box(2)).tolist() == [0, 1]


@pytest.mark.parametrize("value", [0.0, 2.5, -1.0])
def test_constant_map_gets_the_share_of_the_area(value):
    rounding = 1e-9 * torch.linspace(0, 1, SIDE).double()
    maps = value * (1 + rounding).expand(1, SIDE, SIDE)
    assert pointing_game(maps, box(1)).tolist() == [16 / 64]
    assert energy_inside(maps, box(1)).tolist() == [pytest.approx(16 / 64)]


def test_energy_is_the_share_of_positive_values():
    region = torch.tensor([[[True, True], [False, False]]]).expand(3, -1, -1)
    maps = torch.tensor([[3.0, -5, 1, -1], [-1, -2, 4, 0], [-1, -2, -4, -3]]).reshape(3, 2, 2)
    assert energy_inside(maps, region).tolist() == [0.75, 0, 0.5]


def test_random_control_gets_the_share_of_the_area():
    result = evaluate(explain(spot(CORNER), box()), {}, settings=Settings(steps=2, baselines=("mean",)))
    energy = result.values[CONTROL, "energy_inside", "none"]
    assert energy.mean() == pytest.approx(0.25, abs=4 * energy.std() / COUNT**0.5)


def slow_context(explained, maps, end, cell, steps):
    """Return the curve of each sample over the cells outside its region, by loops; None if there are none."""
    side = range(0, SIDE, cell)
    cells = [(slice(top, top + cell), slice(left, left + cell)) for top in side for left in side]
    curves = []
    for row, image in enumerate(explained.inputs):
        outside = [part for part in cells if not explained.region[row][part].any()]
        outside.sort(key=lambda part: -maps[row][part].sum())
        curve = []
        for step in range(steps + 1):
            changed = image.clone()
            for place, part in enumerate(outside):
                if (place + 0.5) / len(outside) < step / steps:
                    changed[0][part] = end[row, 0][part]
            curve.append(explained.score(changed[None], torch.tensor([row])).item())
        curves.append(curve if outside else None)
    return curves


@pytest.mark.parametrize(("cell", "steps"), [(1, 16), (2, 16), (2, 5), (3, 4)])
def test_context_curve_equals_a_loop(cell, steps):
    region = box(6)
    region[1], region[2, 0, 0], region[3], region[4, :, :7] = True, True, box(1, 0, 0, 7, 8)[0], True
    weights = torch.randn(6, SIDE, SIDE, generator=torch.Generator().manual_seed(4)).double()
    explained = explain(lambda x, rows: (x[:, 0] * weights[rows]).sum((1, 2)).sigmoid(), region, 6, batch_size=7)
    maps = torch.rand(6, SIDE, SIDE, generator=torch.Generator().manual_seed(5)).double()
    grid, end = Grid(SIDE, SIDE, cell), blur(explained.inputs)
    rows = context_rows(grid, region)
    kept = context_kept(grid, rank_cells(grid.pool(maps), explained.seeds)[rows], region[rows], steps=steps)
    values = explained.masked_scores
    curve = values.values(values.ask(grid, kept, "blur", rows.tolist()))
    slow = slow_context(explained, maps, end, cell, steps)
    expected = [row for row, values in enumerate(slow) if values is not None]
    assert context_rows(grid, region).tolist() == expected
    assert len(expected) < 6
    target = torch.tensor([slow[row] for row in expected], dtype=torch.float64)
    torch.testing.assert_close(curve, target, atol=1e-12, rtol=0)


def test_cells_that_overlap_the_region_are_kept():
    region = box(top=5, left=5)  # cells of 2x2 pixels: the region covers only one pixel of the first

    def score(x, rows):
        assert torch.equal(x[:, 0, 4:, 4:], INPUTS[rows, 0, 4:, 4:])
        return (x - INPUTS[rows]).abs().amax((1, 2, 3)).clamp_max(1)

    grid = Grid(SIDE, SIDE, 2)
    rank = rank_cells(torch.zeros(COUNT, grid.count), range(COUNT))
    values = explain(score, region).masked_scores
    curve = values.values(values.ask(grid, context_kept(grid, rank, region, steps=4), "black"))
    assert (curve[:, 0] == 0).all()
    assert (curve[:, -1] > 0).all()


def test_context_deletion_prefers_a_map_of_a_cue_outside_the_object():
    measures = listed(evaluate(explain(spot(CORNER), box()), METHODS))
    for baseline in ("mean", "blur"):
        result = measures["cue", "context_deletion_auc", baseline]
        assert result.checks == {"beats_random": "pass"}
        assert result.control - result.value > 0.05
        assert result.higher_is_better is False
        assert result.n == COUNT
        assert measures["object", "context_deletion_auc", baseline].checks == {"beats_random": "fail"}


def test_plausible_map_is_not_faithful():
    measures = listed(evaluate(explain(spot(CORNER), box()), METHODS))
    for metric in WHERE:
        assert (measures["object", metric, "none"].value, measures["cue", metric, "none"].value) == (1, 0)
        assert measures["object", metric, "none"].checks == {"beats_random": "pass"}
        assert measures["cue", metric, "none"].status == "suspect"
    assert measures["object", "deletion_auc", "mean"].checks == {"beats_random": "fail"}


def test_no_map_beats_the_control_if_the_model_uses_no_context():
    measures = listed(evaluate(explain(spot((slice(None), slice(5, 8), slice(5, 8))), box()), METHODS))
    for method in (*METHODS, CONTROL):
        result = measures[method, "context_deletion_auc", "mean"]
        assert result.value == pytest.approx(result.control, abs=1e-12)
        assert result.checks["beats_random"] != "pass"


def test_region_adds_metrics_and_changes_no_other():
    plain, located = (evaluate(explain(spot(CORNER), region), METHODS) for region in (None, box()))
    assert {metric for _, metric, _ in located.values.keys() - plain.values.keys()} == {*WHERE, "context_deletion_auc"}
    assert {way for _, way, _ in located.curves.keys() - plain.curves.keys()} == {"context_deletion"}
    for key, values in plain.values.items():
        assert np.array_equal(values, located.values[key])
    assert all(values.shape == (COUNT,) and values.dtype == np.float64 for values in located.values.values())
    assert all(curve.shape == (17,) for curve in located.curves.values())


def test_samples_without_context_are_left_out():
    region = box()
    region[:4] = True
    result = evaluate(explain(spot(CORNER), region), METHODS)
    whole = evaluate(explain(spot(CORNER), box()), METHODS)
    for baseline in ("mean", "blur"):
        key = ("cue", "context_deletion_auc", baseline)
        assert np.isnan(result.values[key]).tolist() == [True] * 4 + [False] * (COUNT - 4)
        np.testing.assert_allclose(result.values[key][4:], whole.values[key][4:], atol=1e-14)
        measure = listed(result)[key]
        assert measure.n == COUNT - 4
        assert measure.value == pytest.approx(whole.values[key][4:].mean())
        assert measure.checks == {"beats_random": "pass"}
    assert result.values["cue", "pointing_game", "none"].tolist() == [1] * 4 + [0] * (COUNT - 4)


def test_context_deletion_is_undefined_without_any_context():
    result = evaluate(explain(spot(CORNER), torch.ones(COUNT, SIDE, SIDE, dtype=torch.bool)), METHODS)
    measure = listed(result)["cue", "context_deletion_auc", "mean"]
    assert (measure.value, measure.n, measure.status) == (None, 0, "inconclusive")
    assert "no context to delete" in measure.reason
    assert not any(way == "context_deletion" for _, way, _ in result.curves)
    assert (result.values["cue", "energy_inside", "none"] == 1).all()


@pytest.mark.parametrize("batch_size", [1, 7])
def test_values_do_not_depend_on_batch_size_or_other_samples(batch_size):
    region = box()
    region[2] = True
    whole = evaluate(explain(spot(CORNER), region), METHODS)
    parts = evaluate(explain(spot(CORNER), region[:5], 5, batch_size=batch_size), METHODS)
    for key, values in parts.values.items():
        np.testing.assert_allclose(values, whole.values[key][:5], atol=1e-14, rtol=0)


@pytest.mark.parametrize(
    ("region", "message"),
    [
        (box(3), r"shape \(3, 8, 8\) and type torch.bool; expected \(80, 8, 8\), bool"),
        (box().double(), "type torch.float64; expected"),
        (box() & (torch.arange(COUNT) % 30 > 0)[:, None, None], r"rows \[0, 30, 60\] \(3 of 80\)"),
    ],
)
def test_invalid_regions_are_refused(region, message):
    with pytest.raises(MeasureError, match=message):
        explain(spot(CORNER), region)
