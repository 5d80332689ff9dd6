"""Samples of pixels: uniform, reproducible, and large enough to fit a temperature."""

import numpy as np
import pytest

from suite.errors import DataError, MeasureError
from suite.metrics.calibration import fit_temperature
from suite.metrics.segmentation import pixel_sample


def scene(images=6, side=30, classes=4, temperature=1.0):
    """Return logits whose softmax is calibrated at the given temperature, and a truth with ignored pixels."""
    source = np.random.default_rng(0)
    logits = 2 * source.normal(size=(images, classes, side, side + 1))
    noise = source.gumbel(size=logits.shape)
    truth = (logits + noise).argmax(axis=1).astype(np.uint8)
    truth[source.random(truth.shape) < 0.3] = 255
    return (temperature * logits).astype(np.float32), truth


def test_all_valid_pixels_are_returned_in_order_below_the_limit():
    logits, truth = scene()
    rows, labels = pixel_sample(logits, truth)
    assert rows.dtype == np.float32 and labels.dtype == np.int64
    np.testing.assert_array_equal(rows, np.moveaxis(logits, 1, -1)[truth != 255])
    np.testing.assert_array_equal(labels, truth[truth != 255])


def test_pixels_are_sampled_without_replacement_up_to_the_limit():
    logits, truth = scene()
    rows, labels = pixel_sample(logits, truth, limit=500, seed=3)
    assert rows.shape == (500, 4) and labels.shape == (500,)
    known = {tuple(row): label for row, label in zip(*pixel_sample(logits, truth), strict=True)}
    assert len({tuple(row) for row in rows}) == 500
    assert all(known[tuple(row)] == label for row, label in zip(rows, labels, strict=True))


def test_sample_depends_on_the_seed_only():
    logits, truth = scene()
    first, again, other = (pixel_sample(logits, truth, 100, seed)[0] for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_sample_is_uniform():
    truth = np.array([[[0, 255, 1]], [[1, 1, 255]], [[255, 255, 255]], [[0, 1, 1]]], np.uint8)
    logits = np.arange(12.0).reshape(4, 1, 1, 3).repeat(2, axis=1)
    drawn = np.concatenate([pixel_sample(logits, truth, 3, seed)[0][:, 0] for seed in range(2000)])
    counts = np.bincount(drawn.astype(int), minlength=12)
    valid = truth.ravel() != 255
    assert (counts[~valid] == 0).all()
    assert np.abs(counts[valid] - 2000 * 3 / 7).max() < 5 * np.sqrt(2000 * 3 / 7 * 4 / 7)


def test_temperature_of_a_sample_is_close_to_that_of_all_pixels():
    logits, truth = scene(images=20, temperature=3.0)
    whole, part = (fit_temperature(*pixel_sample(logits, truth, limit)) for limit in (10**6, 4000))
    assert whole.converged and whole.value == pytest.approx(3, rel=0.05)
    assert part.value == pytest.approx(whole.value, rel=0.1)


def test_memory_mapped_arrays_are_accepted(tmp_path):
    logits, truth = scene()
    np.save(tmp_path / "logits.npy", logits)
    mapped = np.load(tmp_path / "logits.npy", mmap_mode="r")
    np.testing.assert_array_equal(pixel_sample(mapped, truth, 50)[0], pixel_sample(logits, truth, 50)[0])


def test_invalid_input_is_refused():
    logits, truth = scene()
    with pytest.raises(DataError, match="every pixel is ignored"):
        pixel_sample(logits, np.full_like(truth, 255))
    with pytest.raises(DataError, match="every pixel is ignored"):
        pixel_sample(logits[:0], truth[:0])
    with pytest.raises(DataError, match="as in logits"):
        pixel_sample(logits, truth[:, 1:])
    with pytest.raises(DataError, match=r"expected \(n, classes, h, w\)"):
        pixel_sample(logits[0], truth)
    with pytest.raises(DataError, match=r"\[3\]; expected 0\.\.2"):
        pixel_sample(logits[:, :3], truth)
    with pytest.raises(MeasureError, match="limit=0"):
        pixel_sample(logits, truth, 0)
