"""The occlusion axis: covered pixels, averaging over positions, and the heat map."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from suite.axes.occlusion import Occlusion, corners, side_of, stops
from suite.data import Split
from suite.errors import SpecError
from suite.kinds.base import NotApplicable
from suite.models.base import TorchClassifier
from suite.registry import resolve
from tests.attacks.digits import splits
from tests.axes.contexts import finding_of, split_context

AXIS = Occlusion(fractions=(0.07, 0.25, 0.57), places=3)


class OnePixel(nn.Module):
    """Predicts class 1 if and only if the pixel at (2, 5) is bright."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(8.0))

    def forward(self, pixels):
        bright = (pixels[:, :, 2, 5].mean(dim=1) - 0.75) * self.scale
        return torch.stack([-bright, bright], dim=1)


def bright_images(count=30):
    inputs = np.random.default_rng(0).random((count, 1, 8, 8)).astype(np.float32) * 0.5
    inputs[:, :, 2, 5] = 1.0
    return Split(tuple(f"s{n}" for n in range(count)), inputs, np.ones(count, dtype=np.int64))


@pytest.fixture(scope="module")
def result():
    return finding_of(AXIS, split_context(splits()[1].take(range(120))))


def test_every_fraction_has_a_row_with_the_covered_area(result):
    rows = result.measures
    assert [row.params["fraction"] for row in rows] == [0.07, 0.25, 0.57]
    assert [row.params["covered"] for row in rows] == [4 / 64, 16 / 64, 36 / 64]
    for row in rows:
        kept = np.mean([result.column("quality", fraction=row.params["fraction"], place=at) for at in range(3)], axis=0)
        assert set(np.round(kept * 3).tolist()) <= {0, 1, 2, 3}
        assert np.allclose(kept * 3, np.round(kept * 3))
        assert row.value == pytest.approx(kept.mean())
        assert (row.metric, row.n) == ("occluded_accuracy", 120)
        assert row.lo < row.value < row.hi and row.method.startswith("bootstrap")
    assert rows[0].value > rows[1].value > rows[2].value


def test_the_curve_begins_with_the_clean_image(result):
    curve = result.details["occlusion"]
    assert [point["fraction"] for point in curve] == [0, 0.07, 0.25, 0.57]
    assert curve[0]["value"] == np.mean(result.column("quality"))
    assert [point["value"] for point in curve[1:]] == [row.value for row in result.measures]
    assert all(point["lo"] <= point["value"] <= point["hi"] for point in curve)


def test_measures_of_some_samples_are_those_of_a_run_on_these_samples(result):
    rows = list(range(1, 120, 4))
    part = finding_of(AXIS, split_context(splits()[1].take(rows)))
    assert result.summarised(rows=rows) == part.measures


def test_a_higher_level_widens_the_intervals(result):
    for row, wide in zip(result.measures, result.summarised(level=0.999), strict=True):
        assert (wide.value, wide.level) == (row.value, 0.999)
        assert wide.lo < row.lo < row.hi < wide.hi


def test_a_fraction_keeps_its_numbers_when_facts_were_stored(result):
    stored = replace(result, result=replace(result.result, facts=json.loads(json.dumps(result.facts))))
    assert stored.measures == result.measures


def test_a_model_of_one_pixel_fails_when_that_pixel_is_covered():
    axis = Occlusion(fractions=(0.25,), places=40)
    result = finding_of(axis, split_context(bright_images(), TorchClassifier(OnePixel())))
    # Of the 25 positions of a 4x4 square, those with first row 0..2 and first column 2..4 cover the pixel at (2, 5).
    assert result.measures[0].value == pytest.approx(1 - 9 / 25, abs=0.04)


def test_the_heat_map_is_low_where_the_square_covers_what_the_model_uses():
    axis = Occlusion(fractions=(0.25,), places=1, grid=5)
    arrays = finding_of(axis, split_context(bright_images(), TorchClassifier(OnePixel()))).arrays
    covers = np.zeros((5, 5), dtype=bool)
    covers[0:3, 2:5] = True
    assert arrays["heat"].shape == (12, 5, 5)
    assert (arrays["heat"][:, covers] < 0.1).all() and (arrays["heat"][:, ~covers] > 0.9).all()
    for (top, left), image, clean in zip(arrays["worst_corner"], arrays["worst"], arrays["images"], strict=True):
        assert covers[top, left]
        changed = (image != clean)[0]
        assert changed[top : top + 4, left : left + 4].all() and changed.sum() == 16
    assert (arrays["prediction"] == 1).all() and (arrays["worst_prediction"] == 0).all()


@pytest.mark.parametrize("batch_size", [1, 7, 256])
def test_results_do_not_depend_on_the_batch_size(result, batch_size):
    other = finding_of(AXIS, split_context(splits()[1].take(range(120)), batch_size=batch_size))
    assert other.measures == result.measures
    for one, two in zip(result.result.columns, other.result.columns, strict=True):
        assert one.params == two.params and np.array_equal(one.values, two.values)


@pytest.mark.parametrize("fill", ["grey", "mean"])
def test_only_the_square_changes_and_has_the_requested_fill(fill):
    pixels = torch.rand((5, 3, 9, 12), generator=torch.Generator().manual_seed(0))
    at = torch.tensor([[0, 0], [5, 8], [2, 3], [4, 4], [5, 0]])
    occluded = Occlusion(fill=fill).occluded(pixels, 4, at)
    for image, clean, (top, left) in zip(occluded, pixels, at.tolist(), strict=True):
        expected = clean.clone()
        color = torch.full((3, 1, 1), 0.5) if fill == "grey" else clean.mean(dim=(1, 2), keepdim=True)
        expected[:, top : top + 4, left : left + 4] = color
        assert torch.allclose(image, expected)


def test_corners_cover_all_positions_and_depend_on_seed_and_row():
    pixels = torch.zeros(2000, 1, 8, 11)
    drawn = corners(pixels, 5, list(range(2000)), 0)
    assert set(map(tuple, drawn.tolist())) == {(row, column) for row in range(4) for column in range(7)}
    assert torch.equal(drawn[7:9], corners(pixels[:2], 5, [7, 8], 0))
    assert not torch.equal(drawn, corners(pixels, 5, list(range(2000)), 1))


def test_square_sides_and_grid_stops():
    assert [side_of((8, 8), share) for share in (0.02, 0.0625, 0.25, 0.99)] == [1, 2, 4, 7]
    assert side_of((12, 12), 25 / 144) == 5
    assert side_of((4, 100), 0.5) == 4
    with pytest.raises(SpecError, match="less than one pixel"):
        side_of((8, 8), 0.01)
    assert stops(8, 4, 7) == [0, 1, 2, 3, 4]
    assert stops(224, 100, 3) == [0, 62, 124]
    assert stops(8, 4, 1) == [0]


@pytest.mark.parametrize(
    "options",
    [
        *({"fractions": fractions} for fractions in ((), (0.2, 0.1), (0.0,), (1.0,))),
        *({"places": 0}, {"grid": 0}, {"fill": "black"}),
    ],
    ids=str,
)
def test_invalid_options_are_rejected(options):
    with pytest.raises(SpecError, match="expected"):
        Occlusion(**options)


def test_a_kind_without_maps_has_no_heat_map():
    context = split_context(bright_images(), TorchClassifier(OnePixel()))
    bare = replace(context, kind=replace(context.kind, maps=NotApplicable("nothing to explain")))
    finding = finding_of(Occlusion(fractions=(0.25,), places=1), bare)
    assert finding.arrays == {}
    assert finding.measures == finding_of(finding.axis, context).measures


def test_the_axis_can_be_built_from_its_spec():
    entry, spec = resolve("axis", "occlusion(fractions=0.3, places=2, fill=mean)")
    assert entry.build(spec) == Occlusion(fractions=(0.3,), places=2, fill="mean")
