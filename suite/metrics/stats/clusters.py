"""Samples in groups: samples of one group, such as crops of one photograph, are not independent."""

import numpy as np
from numpy.typing import NDArray

from suite.errors import DataError
from suite.metrics.stats.weights import FloatArray

Groups = NDArray[np.int64]
"""The number of each sample's group, (n,), from 0."""


def group_codes(groups: Groups | None, n: int) -> Groups | None:
    """Return the groups of n samples as numbers from 0 without gaps; None if every sample is a group of its own.

    Raises:
        DataError: there is not one group per sample.
    """
    if groups is None:
        return None
    if np.shape(groups) != (n,):
        raise DataError(f"got groups of shape {np.shape(groups)}; expected ({n},), one per sample.")
    names, codes = np.unique(groups, return_inverse=True)
    return None if names.size == n else np.asarray(codes, np.int64)


def influences(part: FloatArray, whole: FloatArray, groups: Groups | None) -> FloatArray:
    """Return what each group, or each sample, adds to sum(part) / sum(whole), as values with that mean.

    They are the ratio plus the linearized residuals, scaled so that their variance over their number is the variance of
    the ratio; for independent samples and a whole of ones they are the parts.
    """
    ratio = part.sum() / whole.sum()
    residual = part - ratio * whole
    if groups is not None:
        residual = np.bincount(groups, residual)
    return np.asarray(ratio + residual * residual.size / whole.sum())
