"""Calibration of pixels, exact over any number of them: sums per image are kept, and no pixel."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from suite.errors import DataError, MeasureError
from suite.metrics.calibration.bins import Reliability
from suite.metrics.segmentation.arrays import FloatArray, IndexArray, as_counts, as_truth
from suite.metrics.segmentation.regions import boundary
from suite.metrics.segmentation.sums import REGIONS, PixelSums, image_sums
from suite.metrics.stats import ratio

__all__ = ["REGIONS", "PixelEvents"]


class PixelEvents:
    """The calibration of a segmenter's pixels, fed batch by batch.

    Each image is reduced to sums of a fixed size, about 8 classes x bins bytes, so that neither the size of the batches
    nor their order changes a number beyond rounding, and images, whose pixels are not independent, are resampled
    whole. Errors taken with `counts` (r, n), how often each image is drawn in each of r resamples, are (r,); None draws
    each image once. Where no pixel counts an error is NaN: undefined, and not to be reported.

    Pixels whose truth is 255 count nowhere. Class 0 is taken for the background.
    """

    def __init__(self, classes: int, bins: int = 15, width: int = 2) -> None:
        """Start with no images.

        Args:
            classes: number of classes, 2 to 255.
            bins: number of bins of confidence, as `suite.metrics.calibration.BINNING` says.
            width: of the boundary band, as in `boundary`.
        """
        if classes < 2 or bins < 1:
            raise MeasureError(f"got classes={classes}, bins={bins}; expected at least 2 classes and 1 bin.")
        self.classes, self.bins, self.width = classes, bins, width
        self._images: list[PixelSums] = []

    def add(self, probabilities: ArrayLike, truth: ArrayLike) -> None:
        """Add a batch of images; one that is refused leaves nothing behind.

        Args:
            probabilities: (b, classes, h, w), float16, float32 or float64, that sum to 1 over the classes.
            truth: class indices (b, h, w), 255 ignored.

        Raises:
            DataError: the shapes do not fit, an index is no class, or a pixel that counts has a probability that is not
                finite or outside [0, 1], or whose sum over classes is not 1.
        """
        planes, known = np.asarray(probabilities), as_truth(truth, self.classes)
        expected = (len(known), self.classes, *known.shape[1:])
        if planes.shape != expected:
            raise DataError(f"probabilities: got shape {planes.shape}; expected {expected}, as truth and classes say.")
        band = boundary(known, self.width)
        parts = zip(planes, known, band, strict=True)
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
        """Return how many pixels of each image count in a region of `REGIONS`, (n,)."""
        return np.asarray(self._region("counts", region).sum(axis=1))

    def reliability(self, region: str = "pooled") -> Reliability:
        """Return the reliability bins of all images together, as a diagram draws them."""
        names = ("counts", "confidence", "correct")
        counts, confidence, correct = (self._region(name, region).sum(axis=0) for name in names)
        return Reliability(counts, confidence, correct)

    def ece(self, region: str = "pooled", counts: ArrayLike | None = None) -> FloatArray:
        """Return the plug-in top-label calibration error of the pixels of all images together, (r,) in [0, 1].

        Args:
            region: one of `REGIONS`.
            counts: resamples (r, n).

        Raises:
            MeasureError: the region is unknown.
            DataError: counts are unusable.
        """
        drawn = as_counts(counts, self.images)
        return ratio(np.abs(drawn @ self._gaps(region)).sum(axis=1), drawn @ self.pixels(region))

    def per_image_ece(self, region: str = "pooled") -> FloatArray:
        """Return the error of each image by itself, (n,); NaN where no pixel of it counts.

        It lies above the error of all together: gaps of different images do not cancel, and bins hold fewer pixels.
        """
        return ratio(np.abs(self._gaps(region)).sum(axis=1), self.pixels(region).astype(np.float64))

    def classwise_ece(self, counts: ArrayLike | None = None) -> FloatArray:
        """Return the mean over all classes of the one-vs-rest error of p(class), (r,) in [0, 1]."""
        drawn = as_counts(counts, self.images)
        sums = drawn @ self._all("classwise").reshape(self.images, self.classes * self.bins)
        return ratio(np.abs(sums).sum(axis=1), self.classes * (drawn @ self.pixels()))

    def nll(self, counts: ArrayLike | None = None) -> FloatArray:
        """Return the mean negative log-likelihood of a pixel in nats, (r,).

        It is infinite where an image is drawn that has a pixel whose label's probability is exactly 0, as happens to
        a softmax in float16; `impossible` counts them.
        """
        drawn = as_counts(counts, self.images)
        means = ratio(drawn @ self._all("nll"), drawn @ self.pixels())
        return np.where(drawn @ self._all("impossible") > 0, np.inf, means)

    def brier(self, counts: ArrayLike | None = None) -> FloatArray:
        """Return the mean squared error of a pixel, summed over classes, (r,) in [0, 2]."""
        drawn = as_counts(counts, self.images)
        return ratio(drawn @ self._all("brier"), drawn @ self.pixels())

    def _gaps(self, region: str) -> FloatArray:
        return np.asarray(self._region("confidence", region) - self._region("correct", region))

    def _region(self, name: str, region: str) -> NDArray[Any]:
        if region not in REGIONS:
            raise MeasureError(f"got the region {region!r}; expected one of {', '.join(REGIONS)}.")
        return np.asarray(self._all(name)[:, REGIONS.index(region)])

    def _all(self, name: str) -> NDArray[Any]:
        """Return one of the sums of every image, (n, ...)."""
        images = self._images or [PixelSums.empty(self.classes, self.bins)]
        return np.stack([getattr(image, name) for image in images])[: self.images]
