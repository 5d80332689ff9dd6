"""Out-of-distribution detection by code length, which need not be longer for other images (Nalisnick et al. 2019).

The other images are made from the task's own, so that no further data set is needed: mirrored, inverted, with pixels
shuffled by one permutation, and all black. A density can be high where no image of the task lies; black images are
simple, and many models of digits assign them the highest likelihood.
"""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from suite.kinds.autoencoding import losses
from suite.kinds.autoencoding.evidence import inputs_at, subset_rows
from suite.kinds.base import Array, Outcomes
from suite.metrics.stats import drawn, resampled
from suite.models.base import BATCH_MULTIPLE
from suite.types import Measure


def shuffled(images: Tensor) -> Tensor:
    """Return images with their pixel positions permuted, in the same way for all images and channels."""
    flat = images.flatten(2)
    order = np.random.default_rng(0).permutation(flat.shape[2])
    return flat[:, :, torch.from_numpy(order).to(images.device)].view_as(images)


TRANSFORMS: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {
        "mirrored": lambda images: images.flip(3),
        "inverted": lambda images: 1 - images,
        "shuffled": shuffled,
        "black": torch.zeros_like,
    }
)
"""What makes out-of-distribution images of the task's images, by name."""


def out_of_distribution_measures(outcomes: Outcomes) -> list[Measure]:
    """Return the AUROC of the code length as a detector of out-of-distribution images, for each of `TRANSFORMS`."""
    images = inputs_at(outcomes, subset_rows(outcomes))
    in_distribution = code_lengths(outcomes.model, images)
    measures = []
    for name, transform in TRANSFORMS.items():
        wins = pairwise_wins(code_lengths(outcomes.model, transform(images)), in_distribution)
        params = {"out_of_distribution": name, "score": "code_length"}
        statistic = partial(auroc, wins)
        measures.append(
            resampled("out_of_distribution_auroc", statistic, len(images), seed=outcomes.seed, params=params)
        )
    return measures


def code_lengths(model: Any, images: Tensor) -> Array:
    """Return the code length of each image in bits per dimension, (n,)."""
    with model.frozen(), torch.no_grad():
        parts = [losses.code_length(model(batch).double(), batch) for batch in torch.split(images, BATCH_MULTIPLE)]
    return np.asarray(torch.cat(parts).cpu().numpy())


def pairwise_wins(others: Array, in_distribution: Array) -> Array:
    """Return whether the code of each other image (rows) is longer than that of each image (columns), half for ties."""
    return np.asarray((np.sign(others[:, None] - in_distribution[None]) + 1) / 2)


def auroc(wins: Array, counts: Array | None = None) -> Array:
    """Return the fraction of pairs (n, n) in which the other image has the longer code, for each resample, (r,)."""
    weights = drawn(counts, len(wins))
    return np.asarray(((weights @ wins) * weights).sum(axis=1) / weights.sum(axis=1) ** 2)
