"""Calibration of pixels: equal to that of the flattened pixels, independent of batches, and exact for many pixels."""

import tracemalloc
import warnings

import numpy as np
import pytest

from suite.errors import DataError, MeasureError
from suite.metrics.calibration import Predictions, Reliability
from suite.metrics.calibration.summary import brier_scores, classwise_ece
from suite.metrics.segmentation import REGIONS, PixelEvents
from suite.metrics.segmentation.regions import boundary

CLASSES = 6


def scene(seed=0, images=7, side=20, ignored=0.15, classes=CLASSES):
    """Return probabilities (n, classes, h, w) and a truth of blocks, with ignored pixels."""
    source = np.random.default_rng(seed)
    blocks = source.integers(0, classes, (images, side // 5, side // 5)) * (source.random((images, 4, 4)) < 0.5)
    truth = blocks.repeat(5, axis=1).repeat(6, axis=2).astype(np.uint8)
    logits = 2.5 * source.normal(size=(images, classes, *truth.shape[1:]))
    np.put_along_axis(logits, truth[:, None], np.take_along_axis(logits, truth[:, None], 1) + 2, 1)
    truth[source.random(truth.shape) < ignored] = 255
    powers = np.exp(logits)
    return powers / powers.sum(axis=1, keepdims=True), truth


def flat(probabilities, truth, inside=None):
    """Return probabilities (m, classes) and labels (m,) of the valid pixels, or of those inside."""
    keep = truth != 255 if inside is None else inside & (truth != 255)
    return np.moveaxis(probabilities, 1, -1)[keep], truth[keep].astype(np.int64)


def regions(probabilities, truth, width=2):
    message = probabilities.argmax(axis=1)
    return {
        "pooled": np.ones(truth.shape, bool),
        "foreground": (truth != 0) | (message != 0),
        "boundary": boundary(truth, width),
    }


def flat_ece(probabilities, truth, inside=None):
    rows, labels = flat(probabilities, truth, inside)
    return Reliability.from_events(rows.max(axis=1), rows.argmax(axis=1) == labels).ece()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("region", REGIONS)
def test_ece_equals_that_of_the_flattened_pixels(seed, region):
    probabilities, truth = scene(seed)
    events, inside = PixelEvents.of(probabilities, truth), regions(probabilities, truth)[region]
    kept = (inside & (truth != 255)).sum(axis=(1, 2))
    assert events.pixels(region).tolist() == kept.tolist() and 0 < kept.sum() <= (truth != 255).sum()
    assert events.ece(region) == pytest.approx([flat_ece(probabilities, truth, inside)], abs=1e-12)
    assert events.reliability(region).ece() == pytest.approx(events.ece(region)[0], abs=1e-15)
    alone = [flat_ece(*(array[row : row + 1] for array in (probabilities, truth, inside))) for row in range(7)]
    assert events.per_image_ece(region) == pytest.approx(np.array(alone), abs=1e-12)


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_scores_and_the_class_wise_error_equal_those_of_the_flattened_pixels(bins):
    probabilities, truth = scene()
    events, (rows, labels) = PixelEvents.of(probabilities, truth, bins=bins), flat(probabilities, truth)
    predictions = Predictions.from_probabilities(rows, labels)
    assert events.classwise_ece() == pytest.approx([classwise_ece(predictions, bins)], abs=1e-12)
    assert events.nll() == pytest.approx([-predictions.log_likelihood.mean()], abs=1e-12)
    assert events.brier() == pytest.approx([brier_scores(predictions).mean()], abs=1e-12)


def test_ece_equals_netcal_on_the_pixels_that_count():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        metrics = pytest.importorskip("netcal.metrics")
        for seed in range(5):
            probabilities, truth = scene(seed)
            theirs = float(metrics.ECE(bins=15).measure(*flat(probabilities, truth)))
            assert PixelEvents.of(probabilities, truth).ece()[0] == pytest.approx(theirs, abs=1e-12)


def all_values(events, counts=None):
    eces = [events.ece(region, counts) for region in REGIONS]
    return np.concatenate([*eces, events.classwise_ece(counts), events.nll(counts), events.brier(counts)])


def test_sums_of_an_image_do_not_depend_on_other_images_or_the_order():
    probabilities, truth = scene(images=9)
    whole = PixelEvents.of(probabilities, truth)
    for rows in ([3], [8, 0], slice(2, 7)):
        few = PixelEvents.of(probabilities[rows], truth[rows])
        kept = PixelEvents({name: values[rows] for name, values in whole.columns.items()})
        assert all_values(few).tolist() == all_values(kept).tolist()
    order = np.random.default_rng(0).permutation(9)
    reordered = PixelEvents.of(probabilities[order], truth[order])
    np.testing.assert_allclose(all_values(reordered), all_values(whole), rtol=0, atol=1e-12)
    assert reordered.per_image_ece().tolist() == whole.per_image_ece()[order].tolist()


def test_counts_equal_repeated_images():
    probabilities, truth = scene()
    drawn = np.random.default_rng(1).integers(0, 7, (10, 7))
    counts = np.stack([np.bincount(row, minlength=7) for row in drawn])
    values = all_values(PixelEvents.of(probabilities, truth), counts).reshape(-1, 10)
    again = np.stack([all_values(PixelEvents.of(probabilities[row], truth[row])) for row in drawn], axis=1)
    np.testing.assert_allclose(values, again, rtol=0, atol=1e-12)


def test_predictions_of_ignored_pixels_do_not_matter():
    probabilities, truth = scene()
    changed = np.where((truth == 255)[:, None], 1 / CLASSES, probabilities)
    assert not np.array_equal(changed, probabilities)
    assert (
        all_values(PixelEvents.of(changed, truth)).tolist() == all_values(PixelEvents.of(probabilities, truth)).tolist()
    )


def test_image_of_ignored_pixels_changes_nothing_and_has_no_error():
    probabilities, truth = scene()
    blank = np.concatenate([truth[:1] * 0 + 255, truth])
    events = PixelEvents.of(np.concatenate([probabilities[:1], probabilities]), blank)
    np.testing.assert_allclose(all_values(events), all_values(PixelEvents.of(probabilities, truth)), rtol=0, atol=1e-14)
    assert np.isnan(events.per_image_ece()).tolist() == [True] + [False] * 7


def test_errors_are_undefined_without_valid_pixels():
    probabilities, truth = scene()
    events = PixelEvents.of(probabilities, np.full_like(truth, 255))
    assert np.isnan(all_values(events)).all() and events.images == 7
    none = PixelEvents.of(probabilities[:0], truth[:0])
    assert np.isnan(all_values(none)).all() and none.per_image_ece().shape == (0,)
    one_class = PixelEvents.of(probabilities, np.zeros_like(truth))
    assert np.isnan(one_class.ece("boundary")).all() and np.isfinite(one_class.ece()).all()
    drawn = PixelEvents.of(probabilities, np.concatenate([truth[:6], truth[:1] * 0 + 255])).ece(counts=np.eye(7)[-2:])
    assert np.isfinite(drawn[0]) and np.isnan(drawn[1])


def test_forty_million_equal_pixels_are_exact_in_bounded_memory():
    # Counts in float32 would stop at 2**24 per bin and give 0; the error is 0.99 - 0.90.
    side, images = 1000, 40
    confident = np.broadcast_to(np.array([0.99, 0.01])[None, :, None, None], (images, 2, side, side))
    mask = (np.arange(side * side) % 10 == 0).astype(np.uint8).reshape(1, side, side)
    truth = np.broadcast_to(mask, (images, side, side))
    tracemalloc.start()
    events = PixelEvents.of(confident, truth)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert events.pixels().sum() == 40_000_000
    assert events.ece()[0] == pytest.approx(0.09, abs=1e-9)
    assert events.brier()[0] == pytest.approx(0.9 * 2e-4 + 0.1 * 2 * 0.99**2, abs=1e-9)
    assert events.nll()[0] == pytest.approx(-0.9 * np.log(0.99) - 0.1 * np.log(0.01), abs=1e-9)
    assert peak < 32 * 2**20


def test_dtypes_agree_within_their_rounding():
    probabilities, truth = scene()
    wide = all_values(PixelEvents.of(probabilities, truth))
    np.testing.assert_allclose(
        all_values(PixelEvents.of(probabilities.astype(np.float32), truth)), wide, rtol=0, atol=2e-6
    )
    np.testing.assert_allclose(
        all_values(PixelEvents.of(probabilities.astype(np.float16), truth)), wide, rtol=0, atol=3e-3
    )


def test_half_precision_is_summed_in_float64():
    probabilities, truth = (array.astype(np.float16) for array in scene()), scene()[1]
    half = next(probabilities)
    assert (
        all_values(PixelEvents.of(half, truth)).tolist()
        == all_values(PixelEvents.of(half.astype(np.float64), truth)).tolist()
    )


def test_nll_is_infinite_if_an_image_with_probability_zero_is_drawn():
    probabilities, truth = scene(images=3, ignored=0)
    truth[1, 0, 0] = 2
    probabilities[1, :, 0, 0] = np.eye(CLASSES)[3]
    events = PixelEvents.of(probabilities, truth)
    assert events.impossible == 1
    assert np.isinf(events.nll()[0]) and np.isfinite(events.brier()[0])
    drawn = events.nll([[1, 0, 2], [0, 1, 0]])
    rows = [Predictions.from_probabilities(*flat(probabilities[[row]], truth[[row]])) for row in (0, 2, 2)]
    assert drawn[0] == pytest.approx(np.mean([-row.log_likelihood.mean() for row in rows]))
    assert np.isinf(drawn[1])


def test_equal_probabilities_go_to_the_lowest_class():
    half = np.full((1, 2, 1, 2), 0.5)
    events = PixelEvents.of(half, np.array([[[0, 1]]], np.uint8))
    assert events.reliability().correct_sums.sum() == 1
    assert events.pixels("foreground").tolist() == [1]  # the tie is predicted as background


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p * np.nan, "not finite"),
        (lambda p: p * 0.9, "away from 1"),
        (lambda p: p - 0.5, "expected \\[0, 1\\]"),
        (lambda p: np.log(p), "expected \\[0, 1\\]"),
        (lambda p: p[:, :, :-1], "got shape"),
        (lambda p: p[0], "got shape"),
    ],
)
def test_invalid_probabilities_are_refused(change, message):
    probabilities, truth = scene(images=3)
    with pytest.raises(DataError, match=message):
        PixelEvents.of(change(probabilities.copy()), truth)


def test_one_invalid_pixel_in_the_last_image_is_an_error():
    probabilities, truth = scene(images=3, ignored=0)
    probabilities[2, 1, -1, -1] = np.nan
    with pytest.raises(DataError, match="1 of"):
        PixelEvents.of(probabilities, truth)


def test_invalid_truth_regions_and_sizes_are_refused():
    probabilities, truth = scene(images=2)
    with pytest.raises(DataError, match=r"\[6\]; expected 0\.\.5"):
        PixelEvents.of(probabilities, np.where(truth == 1, 6, truth).astype(np.uint8))
    with pytest.raises(MeasureError, match="'edge'; expected one of pooled, foreground, boundary"):
        PixelEvents.of(probabilities, truth).ece("edge")
    with pytest.raises(MeasureError, match="weights: got shape"):
        PixelEvents.of(probabilities, truth).ece(counts=[[1, 1, 1]])
    for classes, bins in ((1, 15), (6, 0)):
        with pytest.raises(MeasureError, match="expected at least 2 classes and 1 bin"):
            PixelEvents.of(probabilities[:, :classes], truth, bins)
    with pytest.raises(DataError, match=r"\[5\]; expected 0\.\.4"):
        PixelEvents.of(probabilities[:, :-1], np.full_like(truth, 5))


def test_wider_band_contains_more_pixels():
    probabilities, truth = scene()
    narrow, wide = PixelEvents.of(probabilities, truth, width=1), PixelEvents.of(probabilities, truth, width=3)
    assert wide.pixels("boundary").sum() > narrow.pixels("boundary").sum() > 0
    inside = regions(probabilities, truth, width=3)["boundary"]
    assert wide.ece("boundary") == pytest.approx([flat_ece(probabilities, truth, inside)], abs=1e-12)
