"""Calibration of pixels from sums per image, exact for any number of pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from suite.errors import DataError, MeasureError
from suite.metrics.calibration.bins import Reliability, bin_index
from suite.metrics.calibration.events import ECE
from suite.metrics.calibration.predictions import Predictions
from suite.metrics.calibration.summary import BRIER, CLASSWISE_ECE, NLL
from suite.metrics.catalogue import Metric
from suite.metrics.segmentation.arrays import IGNORED, BoolArray, FloatArray, IndexArray, as_class_map, as_truth
from suite.metrics.segmentation.regions import boundary
from suite.metrics.stats import ratio
from suite.metrics.stats.resampled import checked_counts

REGIONS = ("pooled", "foreground", "boundary")
"""All pixels that are not ignored; those whose truth or prediction is not class 0; those near a class border."""

PIXEL_ECE = replace(
    ECE,
    meaning="mean gap between confidence and accuracy of pixels; most pixels are easy background, so see those of the "
    "foreground and near class borders as well",
    columns=tuple(replace(column, where={**column.where, "region": None}) for column in ECE.columns),
    descriptive=("pixels",),
)
PIXEL_CLASSWISE_ECE = replace(
    CLASSWISE_ECE, meaning="the ECE of the probability of each class over all pixels, averaged over classes"
)
PIXEL_NLL = replace(NLL, meaning="negative log-likelihood of the true class of a pixel, a proper scoring rule")
PIXEL_BRIER = replace(BRIER, meaning="squared error of the predicted probabilities of a pixel, a proper scoring rule")
IMAGE_ECE = Metric(
    "image_ece",
    "mean ECE per image",
    "the ECE of the pixels of each image, averaged over images: gaps of different images do not cancel",
    higher_is_better=False,
)
SEGMENTATION_CALIBRATION = (PIXEL_ECE, PIXEL_CLASSWISE_ECE, PIXEL_NLL, PIXEL_BRIER, IMAGE_ECE)

_BLOCK = 8192
"""Pixels converted to float64 at a time; it bounds the memory and the length of one running sum."""


@dataclass(frozen=True, eq=False)
class PixelSums:
    """Counts and sums over the valid pixels of an image; two can be added.

    Attributes:
        bin_counts: (regions, bins) int64 number of pixels per region and bin of confidence.
        bin_confidence: (regions, bins) float64 sums of confidence.
        bin_correct: (regions, bins) int64 number of correct pixels.
        class_gaps: (classes, bins) float64 sums of probability minus one-hot truth, by bin of that probability.
        nll_sum: sum of the negative log-likelihood in nats, over pixels whose label has a probability above 0.
        brier_sum: sum of the squared error over classes.
        impossible_pixels: number of pixels whose label has probability exactly 0.
    """

    bin_counts: IndexArray
    bin_confidence: FloatArray
    bin_correct: IndexArray
    class_gaps: FloatArray
    nll_sum: float
    brier_sum: float
    impossible_pixels: int

    @classmethod
    def empty(cls, classes: int, bins: int) -> PixelSums:
        """Return the sums over no pixels."""
        regions = len(REGIONS), bins
        none = np.zeros(regions, np.int64)
        return cls(none, np.zeros(regions), none, np.zeros((classes, bins)), 0.0, 0.0, 0)

    def __add__(self, other: PixelSums) -> PixelSums:
        return PixelSums(*(getattr(self, name) + getattr(other, name) for name in PIXEL_COLUMNS))


PIXEL_COLUMNS = tuple(field.name for field in fields(PixelSums))
"""The names of the sums; the columns that `PixelEvents` needs."""


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
    probabilities = predictions.probabilities.astype(np.float64)
    confidence, predicted = probabilities.max(axis=1), probabilities.argmax(axis=1)
    correct = predicted == predictions.labels
    keys = bin_index(confidence, bins)
    inside = (slice(None), (predictions.labels != 0) | (predicted != 0), near)
    errors = probabilities.copy()
    errors[np.arange(len(errors)), predictions.labels] -= 1.0
    possible = np.isfinite(predictions.log_likelihood)
    return PixelSums(
        np.stack([np.bincount(keys[rows], minlength=bins) for rows in inside]),
        np.stack([np.bincount(keys[rows], confidence[rows], bins) for rows in inside]),
        np.stack([np.bincount(keys[rows][correct[rows]], minlength=bins) for rows in inside]),
        _classwise(probabilities, errors, bins),
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


@dataclass(frozen=True, eq=False)
class PixelEvents:
    """Calibration of the pixels of a segmentation model, from sums over the pixels of each image.

    Each image is reduced to sums of a fixed size, about 8 classes x bins bytes. Since pixels of an image are not
    independent, whole images are resampled: with `counts` (r, n), how often each image is drawn in each of r resamples,
    errors are (r,); None draws each image once. An error is NaN if all pixels are ignored.

    Pixels whose truth is 255 are ignored. Class 0 is the background.

    Attributes:
        columns: the sums of `PixelSums` by name, (n, ...) each.
    """

    columns: Mapping[str, NDArray[Any]]

    @classmethod
    def of(cls, probabilities: ArrayLike, truth: ArrayLike, bins: int = 15, width: int = 2) -> Self:
        """Return the events of images; they are reduced one at a time.

        Args:
            probabilities: (n, classes, h, w), float16, float32 or float64, that sum to 1 over the classes.
            truth: class indices (n, h, w), 255 ignored.
            bins: number of bins of confidence, by `suite.metrics.calibration.BINNING`.
            width: of the boundary band, as in `boundary`.

        Raises:
            DataError: the shapes do not fit, an index is not a class, or a valid pixel has a probability that is not
                finite or outside [0, 1], or probabilities whose sum is not 1.
            MeasureError: there are less than two classes, or there is no bin.
        """
        planes, labels = np.asarray(probabilities), as_class_map("truth", truth)
        classes = planes.shape[1] if planes.ndim == 4 else 0
        expected = (len(labels), classes or "classes", *labels.shape[1:])
        if planes.shape != expected:
            raise DataError(f"probabilities: got shape {planes.shape}; expected {expected}, by truth and classes.")
        if classes < 2 or bins < 1:
            raise MeasureError(f"got classes={classes}, bins={bins}; expected at least 2 classes and 1 bin.")
        sums = [PixelSums.empty(classes, bins)]  # so that there are arrays to stack if there are no images
        for row, plane in enumerate(planes):
            label = as_truth(labels[row : row + 1], classes)
            sums.append(image_sums(plane, label[0], boundary(label, width)[0], bins))
        return cls({name: np.stack([getattr(part, name) for part in sums])[1:] for name in PIXEL_COLUMNS})

    @property
    def images(self) -> int:
        """Number of images."""
        return len(self.columns["nll_sum"])

    @property
    def impossible(self) -> int:
        """Number of pixels whose label has probability exactly 0; they make the nll infinite."""
        return int(self.columns["impossible_pixels"].sum())

    def pixels(self, region: str = "pooled") -> IndexArray:
        """Return the number of valid pixels of each image in a region of `REGIONS`, (n,)."""
        return np.asarray(self._region("bin_counts", region).sum(axis=1))

    def reliability(self, region: str = "pooled") -> Reliability:
        """Return the reliability bins of all images together."""
        names = ("bin_counts", "bin_confidence", "bin_correct")
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
        gaps = self.columns["class_gaps"]
        images, classes, bins = gaps.shape
        sums = drawn @ gaps.reshape(images, classes * bins)
        return ratio(np.abs(sums).sum(axis=1), classes * (drawn @ self.pixels()))

    def nll(self, counts: ArrayLike | None = None) -> FloatArray:
        """Return the mean negative log-likelihood of a pixel in nats, (r,).

        It is infinite if a drawn image has a pixel whose label has probability exactly 0, as happens with a softmax in
        float16; `impossible` counts such pixels.
        """
        drawn = checked_counts(counts, self.images)
        means = ratio(drawn @ self.columns["nll_sum"], drawn @ self.pixels())
        return np.where(drawn @ self.columns["impossible_pixels"] > 0, np.inf, means)

    @property
    def highest_nll(self) -> float:
        """The highest mean negative log-likelihood of the pixels of an image, in nats; 0 without pixels.

        It has no upper bound, so an image that was not seen is imagined to be as bad as the worst that was.
        """
        return float(np.nan_to_num(ratio(self.columns["nll_sum"], self.pixels())).max(initial=0.0))

    def brier(self, counts: ArrayLike | None = None) -> FloatArray:
        """Return the mean squared error of a pixel, summed over classes, (r,) in [0, 2]."""
        drawn = checked_counts(counts, self.images)
        return ratio(drawn @ self.columns["brier_sum"], drawn @ self.pixels())

    def _gaps(self, region: str) -> FloatArray:
        return np.asarray(self._region("bin_confidence", region) - self._region("bin_correct", region))

    def _region(self, name: str, region: str) -> NDArray[Any]:
        if region not in REGIONS:
            raise MeasureError(f"got the region {region!r}; expected one of {', '.join(REGIONS)}.")
        return np.asarray(self.columns[name][:, REGIONS.index(region)])
