"""The band near class borders, and covered pixels."""

import numpy as np
import pytest

from suite.errors import DataError
from suite.metrics.segmentation.regions import boundary, covered


def naive_boundary(truth, width):
    """Return the band of one image from the neighbors of every pixel."""
    band = np.zeros(truth.shape, bool)
    for row, column in np.argwhere(truth != 255):
        rows, columns = slice(max(0, row - width), row + width + 1), slice(max(0, column - width), column + width + 1)
        around = truth[rows, columns]
        band[row, column] = ((around != truth[row, column]) & (around != 255)).any()
    return band


@pytest.mark.parametrize("width", [1, 2, 3, 20])
@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_band_equals_its_definition(width, dtype):
    source = np.random.default_rng(0)
    coarse = source.integers(0, 4, (6, 4, 5))
    truth = coarse.repeat(6, axis=1).repeat(5, axis=2).astype(dtype)
    truth[source.random(truth.shape) < 0.1] = 255
    before = truth.copy()
    expected = np.stack([naive_boundary(image, width) for image in truth])
    assert 0 < expected.mean() < 1
    np.testing.assert_array_equal(boundary(truth, width), expected)
    np.testing.assert_array_equal(truth, before)


def test_band_has_width_pixels_on_either_side():
    truth = np.zeros((1, 3, 10), np.uint8)
    truth[..., 5:] = 3
    assert boundary(truth)[0].tolist() == [[False] * 3 + [True] * 4 + [False] * 3] * 3
    assert boundary(truth, 1)[0, 0].nonzero()[0].tolist() == [4, 5]


def test_ignored_pixels_have_no_border():
    truth = np.zeros((1, 1, 9), np.uint8)
    truth[..., 4] = 255
    assert not boundary(truth).any()
    truth[..., 5:] = 1
    assert boundary(truth, 1).sum() == 0
    assert boundary(truth, 2)[0, 0].nonzero()[0].tolist() == [3, 5]


def test_one_class_has_no_border():
    assert not boundary(np.full((2, 4, 4), 7, np.uint8)).any()


def test_covered_pixels_are_ignored_in_a_copy():
    truth = np.arange(8, dtype=np.uint8).reshape(1, 2, 4)
    mask = np.zeros((1, 2, 4), bool)
    mask[0, 0, 1:3] = True
    masked = covered(truth, mask)
    assert masked.dtype == np.uint8 and masked.tolist() == [[[0, 255, 255, 3], [4, 5, 6, 7]]]
    assert truth.max() == 7


def test_invalid_masks_and_widths_are_refused():
    truth = np.zeros((1, 2, 2), np.uint8)
    with pytest.raises(DataError, match="expected bool of shape"):
        covered(truth, np.zeros((1, 2, 2)))
    with pytest.raises(DataError, match="expected bool of shape"):
        covered(truth, np.zeros((2, 2), bool))
    with pytest.raises(DataError, match="width 0"):
        boundary(truth, 0)
    with pytest.raises(DataError, match=r"\(n, h, w\)"):
        boundary(truth[0])
