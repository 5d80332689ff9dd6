"""Which pixels lie near a border, and which are hidden."""

import numpy as np
import pytest

from suite.errors import DataError
from suite.metrics.segmentation import boundary, covered


def by_the_definition(truth, width):
    """Return the band of one image by looking around every pixel."""
    band = np.zeros(truth.shape, bool)
    for row, column in np.argwhere(truth != 255):
        rows, columns = slice(max(0, row - width), row + width + 1), slice(max(0, column - width), column + width + 1)
        around = truth[rows, columns]
        band[row, column] = ((around != truth[row, column]) & (around != 255)).any()
    return band


@pytest.mark.parametrize("width", [1, 2, 3, 20])
@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_the_band_is_that_of_the_definition(width, dtype):
    source = np.random.default_rng(0)
    coarse = source.integers(0, 4, (6, 4, 5))
    truth = coarse.repeat(6, axis=1).repeat(5, axis=2).astype(dtype)
    truth[source.random(truth.shape) < 0.1] = 255
    before = truth.copy()
    expected = np.stack([by_the_definition(image, width) for image in truth])
    assert 0 < expected.mean() < 1
    np.testing.assert_array_equal(boundary(truth, width), expected)
    np.testing.assert_array_equal(truth, before)


def test_two_halves_have_a_band_of_width_pixels_on_either_side():
    truth = np.zeros((1, 3, 10), np.uint8)
    truth[..., 5:] = 3
    assert boundary(truth)[0].tolist() == [[False] * 3 + [True] * 4 + [False] * 3] * 3
    assert boundary(truth, 1)[0, 0].nonzero()[0].tolist() == [4, 5]


def test_an_ignored_pixel_makes_no_border_and_a_seam_hides_one():
    truth = np.zeros((1, 1, 9), np.uint8)
    truth[..., 4] = 255
    assert not boundary(truth).any()
    truth[..., 5:] = 1
    assert boundary(truth, 1).sum() == 0
    assert boundary(truth, 2)[0, 0].nonzero()[0].tolist() == [3, 5]


def test_one_class_has_no_border():
    assert not boundary(np.full((2, 4, 4), 7, np.uint8)).any()


def test_covered_pixels_are_ignored_and_the_truth_is_left_as_it_was():
    truth = np.arange(8, dtype=np.uint8).reshape(1, 2, 4)
    mask = np.zeros((1, 2, 4), bool)
    mask[0, 0, 1:3] = True
    hidden = covered(truth, mask)
    assert hidden.dtype == np.uint8 and hidden.tolist() == [[[0, 255, 255, 3], [4, 5, 6, 7]]]
    assert truth.max() == 7


def test_what_does_not_fit_is_refused():
    truth = np.zeros((1, 2, 2), np.uint8)
    with pytest.raises(DataError, match="expected bool of shape"):
        covered(truth, np.zeros((1, 2, 2)))
    with pytest.raises(DataError, match="expected bool of shape"):
        covered(truth, np.zeros((2, 2), bool))
    with pytest.raises(DataError, match="width 0"):
        boundary(truth, 0)
    with pytest.raises(DataError, match=r"\(n, h, w\)"):
        boundary(truth[0])
