"""Random samples of pixels, for fits that need single pixels."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from suite.errors import DataError, MeasureError
from suite.metrics.segmentation.arrays import IGNORED, IndexArray, as_truth


def pixel_sample(
    logits: ArrayLike, truth: ArrayLike, limit: int = 200_000, seed: int = 0
) -> tuple[NDArray[Any], IndexArray]:
    """Return logits (m, classes) and labels (m,) of at most `limit` pixels, sampled uniformly without replacement.

    They can be passed to `suite.metrics.calibration.fit_temperature`. The interval of the temperature assumes
    independent samples, which pixels of one image are not.

    Args:
        logits: (n, classes, h, w); a memory-mapped array is read one image at a time.
        truth: class indices (n, h, w); pixels of index 255 are left out.
        limit: largest number of pixels, at least 1; if no more are valid, all of them are returned.
        seed: integer >= 0; the same seed gives the same pixels.

    Returns:
        Pixels in the order of images, rows and columns; logits in the dtype given.

    Raises:
        DataError: the shapes do not fit, an index is not a class, or every pixel is ignored.
        MeasureError: the limit is below 1.
    """
    if limit < 1:
        raise MeasureError(f"got limit={limit}; expected at least one pixel.")
    planes = logits if isinstance(logits, np.ndarray) else np.asarray(logits)
    if planes.ndim != 4:
        raise DataError(f"logits: got shape {planes.shape}; expected (n, classes, h, w).")
    labels = as_truth(truth, planes.shape[1])
    if labels.shape != (len(planes), *planes.shape[2:]):
        raise DataError(f"truth: got shape {labels.shape}; expected {(len(planes), *planes.shape[2:])} as in logits.")
    chosen = _chosen(labels, limit, seed)
    rows = [planes[image].reshape(planes.shape[1], -1)[:, indices].T for image, indices in chosen]
    targets = [labels[image].ravel()[indices].astype(np.int64) for image, indices in chosen]
    return np.concatenate(rows), np.concatenate(targets)


def _chosen(truth: NDArray[Any], limit: int, seed: int) -> list[tuple[int, IndexArray]]:
    """Return the images with sampled pixels, each with their flat indices, ascending."""
    ends = np.cumsum((truth != IGNORED).sum(axis=(1, 2)))
    total = int(ends[-1]) if ends.size else 0
    if not total:
        raise DataError("every pixel is ignored; expected at least one that is not.")
    ranks = np.arange(total)
    if total > limit:
        ranks = np.sort(np.random.default_rng(seed).choice(total, limit, replace=False, shuffle=False))
    chosen = []
    for image, (start, end) in enumerate(zip(np.r_[0, ends[:-1]], ends, strict=True)):
        own = ranks[np.searchsorted(ranks, start) : np.searchsorted(ranks, end)] - start
        if own.size:
            chosen.append((image, np.flatnonzero(truth[image] != IGNORED)[own]))
    return chosen
