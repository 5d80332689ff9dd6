"""Calibration of pixels from sums per image, exact for any number of pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from suite.errors import DataError, MeasureError
from suite.metrics.calibration.bins import Reliability, bin_index
from suite.metrics.calibration.inputs import Predictions
from suite.metrics.segmentation.arrays import IGNORED, BoolArray, FloatArray, IndexArray, as_truth
from suite.metrics.segmentation.regions import boundary
from suite.metrics.stats import ratio
from suite.metrics.stats.resampled import checked_counts

REGIONS = ("pooled", "foreground", "boundary")
"""All pixels that are not ignored; those whose truth or prediction is not class 0; those near a class border."""

_BLOCK = 8192
"""Pixels converted to float64 at a time; it bounds the memory and the length of one running sum."""


@dataclass(frozen=True, eq=False)
class PixelSums:
    """Counts and sums over the valid pixels of an image; two can be added.

    Attributes:
        counts: (regions, bins) int64 number of pixels per region and bin of confidence.
        confidence: (regions, bins) float64 sums of confidence.
        correct: (regions, bins) int64 number of correct pixels.
        classwise: (classes, bins) float64 sums of probability minus one-hot truth, by bin of that probability.
        nll: sum of the negative log-likelihood in nats, over pixels whose label has a probability above 0.
        brier: sum of the squared error over classes.
        impossible: number of pixels whose label has probability exactly 0.
    """

    counts: IndexArray
    confidence: FloatArray
    correct: IndexArray
    classwise: FloatArray
    nll: float
    brier: float
    impossible: int

    @classmethod
    def empty(cls, classes: int, bins: int) -> PixelSums:
        """Return the sums over no pixels."""
        regions = len(REGIONS), bins
        none = np.zeros(regions, np.int64)
        return cls(none, np.zeros(regions), none, np.zeros((classes, bins)), 0.0, 0.0, 0)

    def __add__(self, other: PixelSums) -> PixelSums:
        return PixelSums(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))


def image_sums(probabilities: NDArray[Any], truth: NDArray[Any], band: BoolArray, bins: int) -> PixelSums:
    """Return the sums of one image.

    Args:
        probabilities: (classes, h, w).
        truth: class indices (h, w), 255 ignored.
        band: the pixels near a class border, bool (h, w).
        bins: number of bins.

    Raises:
        DataError: a valid pixel has a probability that is not finite or outside [0, 1], or a sum other than 1.
    """
    classes = len(probabilities)
    planes, labels, near = probabilities.reshape(classes, -1), truth.ravel(), band.ravel()
    total = PixelSums.empty(classes, bins)
    for start in range(0, labels.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        valid = labels[block] != IGNORED
        if valid.any():
            # compress keeps the pixels of a class contiguous, which halves the time of the sums.
            chosen = planes[:, block].compress(valid, axis=1).T
            predictions = Predictions.from_probabilities(chosen, labels[block][valid])
            total += _block_sums(predictions, near[block][valid], bins)
    return total


def _block_sums(predictions: Predictions, near: BoolArray, bins: int) -> PixelSums:
    confidence, predicted = predictions.confidence, predictions.probabilities.argmax(axis=1)
    correct = predicted == predictions.labels
    keys = bin_index(confidence, bins)
    inside = (slice(None), (predictions.labels != 0) | (predicted != 0), near)
    errors = predictions.one_vs_rest_errors()
    possible = np.isfinite(predictions.log_likelihood)
    return PixelSums(
        np.stack([np.bincount(keys[rows], minlength=bins) for rows in inside]),
        np.stack([np.bincount(keys[rows], confidence[rows], bins) for rows in inside]),
        np.stack([np.bincount(keys[rows][correct[rows]], minlength=bins) for rows in inside]),
        _classwise(predictions.probabilities, errors, bins),
        -float(predictions.log_likelihood[possible].sum()),
        float(np.vdot(errors, errors)),
        int((~possible).sum()),
    )


def _classwise(probabilities: FloatArray, errors: FloatArray, bins: int) -> FloatArray:
    """Return the errors (pixels, classes) summed per class and bin of probability, (classes, bins).

    Nearly all entries of a softmax lie in the first bin: only the others are binned, and the first is the difference.
    """
    classes = errors.shape[1]
    pixels, columns = np.nonzero(probabilities > 1 / bins)
    keys = columns * bins + bin_index(probabilities[pixels, columns], bins)
    upper = np.bincount(keys, errors[pixels, columns], classes * bins)
    sums = upper.astype(np.float64).reshape(classes, bins)  # bincount of an empty array is int64 even with weights
    sums[:, 0] += np.ones(len(errors)) @ errors - sums.sum(axis=1)
    return sums


class PixelEvents:
    """Calibration of the pixels of a segmentation model, accumulated batch by batch.

    Each image is reduced to sums of a fixed size, about 8 classes x bins bytes, so that the size and order of the
    batches change results by rounding at most. Since pixels of an image are not independent, whole images are
    resampled: with `counts` (r, n), how often each image is drawn in each of r resamples, errors are (r,); None draws
    each image once. An error is NaN if all pixels are ignored.

    Pixels whose truth is 255 are ignored. Class 0 is the background.
    """

    def __init__(self, classes: int, bins: int = 15, width: int = 2) -> None:
        """Start with no images.

        Args:
            classes: number of classes, 2 to 255.
            bins: number of bins of confidence, by `suite.metrics.calibration.BINNING`.
            width: of the boundary band, as in `boundary`.
        """
        if classes < 2 or bins < 1:
            raise MeasureError(f"got classes={classes}, bins={bins}; expected at least 2 classes and 1 bin.")
        self.classes, self.bins, self.width = classes, bins, width
        self._images: list[PixelSums] = []

    def add(self, probabilities: ArrayLike, truth: ArrayLike) -> None:
        """Add a batch of images; an invalid batch adds nothing.

        Args:
            probabilities: (b, classes, h, w), float16, float32 or float64, that sum to 1 over the classes.
            truth: class indices (b, h, w), 255 ignored.

        Raises:
            DataError: the shapes do not fit, an index is not a class, or a valid pixel has a probability that is not
                finite or outside [0, 1], or probabilities whose sum is not 1.
        """
        planes, labels = np.asarray(probabilities), as_truth(truth, self.classes)
        expected = (len(labels), self.classes, *labels.shape[1:])
        if planes.shape != expected:
            raise DataError(f"probabilities: got shape {planes.shape}; expected {expected}, by truth and classes.")
        band = boundary(labels, self.width)
        parts = zip(planes, labels, band, strict=True)
        self._images += [image_sums(*part, self.bins) for part in parts]

    @property
    def images(self) -> int:
        """Number of images."""
        return len(self._images)

    @property
    def impossible(self) -> int:
        """Number of pixels whose label has probability exactly 0; they make the nll infinite."""
        return int(self._all("impossible").sum())

    def pixels(self, region: str = "pooled") -> IndexArray:
        """Return the number of valid pixels of each image in a region of `REGIONS`, (n,)."""
        return np.asarray(self._region("counts", region).sum(axis=1))

    def reliability(self, region: str = "pooled") -> Reliability:
        """Return the reliability bins of all images together."""
        names = ("counts", "confidence", "correct")
        counts, confidence, correct = (self._region(name, region).sum(axis=0) for name in names)
        return Reliability(counts, confidence, correct)

    def ece(self, region: str = "pooled", counts: ArrayLike | None = None) -> FloatArray:
        """Return the plug-in top-label calibration error of the pixels of all images together, (r,) in [0, 1].

        Args:
            region: one of `REGIONS`.
            counts: resamples (r, n).

        Raises:
            MeasureError: the region is unknown, or counts are invalid.
        """
        drawn = checked_counts(counts, self.images)
        return ratio(np.abs(drawn @ self._gaps(region)).sum(axis=1), drawn @ self.pixels(region))

    def per_image_ece(self, region: str = "pooled") -> FloatArray:
        """Return the calibration error of each image, (n,); NaN if all its pixels are ignored.

        It exceeds the pooled error: gaps of different images do not cancel, and bins hold fewer pixels.
        """
        return ratio(np.abs(self._gaps(region)).sum(axis=1), self.pixels(region).astype(np.float64))

    def classwise_ece(self, counts: ArrayLike | None = None) -> FloatArray:
        """Return the mean over all classes of the one-vs-rest error of p(class), (r,) in [0, 1]."""
        drawn = checked_counts(counts, self.images)
        sums = drawn @ self._all("classwise").reshape(self.images, self.classes * self.bins)
        return ratio(np.abs(sums).sum(axis=1), self.classes * (drawn @ self.pixels()))

    def nll(self, counts: ArrayLike | None = None) -> FloatArray:
        """Return the mean negative log-likelihood of a pixel in nats, (r,).

        It is infinite if a drawn image has a pixel whose label has probability exactly 0, as happens with a softmax in
        float16; `impossible` counts such pixels.
        """
        drawn = checked_counts(counts, self.images)
        means = ratio(drawn @ self._all("nll"), drawn @ self.pixels())
        return np.where(drawn @ self._all("impossible") > 0, np.inf, means)

    def brier(self, counts: ArrayLike | None = None) -> FloatArray:
        """Return the mean squared error of a pixel, summed over classes, (r,) in [0, 2]."""
        drawn = checked_counts(counts, self.images)
        return ratio(drawn @ self._all("brier"), drawn @ self.pixels())

    def _gaps(self, region: str) -> FloatArray:
        return np.asarray(self._region("confidence", region) - self._region("correct", region))

    def _region(self, name: str, region: str) -> NDArray[Any]:
        if region not in REGIONS:
            raise MeasureError(f"got the region {region!r}; expected one of {', '.join(REGIONS)}.")
        return np.asarray(self._all(name)[:, REGIONS.index(region)])

    def _all(self, name: str) -> NDArray[Any]:
        """Return one of the sums for every image, (n, ...)."""
        images = self._images or [PixelSums.empty(self.classes, self.bins)]
        return np.stack([getattr(image, name) for image in images])[: self.images]
