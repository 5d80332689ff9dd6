from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from suite.reports import images


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_any_number_of_channels_becomes_rgb(channels: int) -> None:
    assert images.rgb(np.ones((channels, 4, 6))).shape == (4, 6, 3)


def test_values_outside_the_range_and_nan_are_clipped() -> None:
    assert images.rgb(np.array([[[-1.0, 2.0, np.nan]]]))[0, :, 0].tolist() == [0, 255, 0]


def test_the_change_is_signed_and_amplified_by_a_round_number() -> None:
    clean = np.full((1, 1, 3), 0.5)
    picture, factor = images.amplified(clean, clean + np.array([[[0.03, 0.0, -0.03]]]))
    assert factor == 10
    assert picture[0, :, 0].tolist() == [204, 128, 51]


@pytest.mark.parametrize(("change", "factor"), [(0.0, 1), (0.5, 1), (0.25, 2), (0.05, 10), (0.004, 100), (1.0, 0.5)])
def test_amplification_never_clips(change: float, factor: float) -> None:
    amplification = images.amplified(np.zeros((1, 1, 1)), np.full((1, 1, 1), change))[1]
    assert amplification == pytest.approx(factor)
    assert amplification * change <= 0.5 + 1e-9


def test_the_sign_of_a_map_is_visible_without_color() -> None:
    picture = np.asarray(images.heat(np.array([[1.0, -1.0], [0.0, 0.5]]), 64)).astype(int)
    towards, against = picture[:32, :32], picture[:32, 32:]
    assert towards.std(axis=(0, 1)).max() == 0
    assert against.std(axis=(0, 1)).max() > 50
    assert (picture[32:, :32] == 255).all()


def test_a_map_of_zeros_is_white() -> None:
    assert (np.asarray(images.heat(np.zeros((3, 3)))) == 255).all()


def test_small_images_are_enlarged_square_by_square() -> None:
    picture = images.enlarged(np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8), 100)
    assert picture.size == (100, 50)
    assert set(np.unique(np.asarray(picture))) == {0, 255}
    assert Image.open(io.BytesIO(images.png(picture))).size == (100, 50)


def test_large_images_keep_their_size() -> None:
    assert images.enlarged(np.zeros((300, 400, 3), np.uint8), 240).size == (400, 300)
