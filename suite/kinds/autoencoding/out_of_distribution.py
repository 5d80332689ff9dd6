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
from suite.kinds.autoencoding.evidence import inputs_at, known_rows, spread, subset_rows
from suite.kinds.base import Array, Outcomes
from suite.metrics.catalogue import Metric
from suite.metrics.stats import WORST_AND_BEST, drawn
from suite.metrics.table import Measured, Table
from suite.types import Measure

AUROC = Metric(
    "out_of_distribution_auroc",
    "out-of-distribution AUROC",
    "probability that the code of an image from elsewhere is longer than that of an image of the task; 50 % is chance",
)


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

UNCHANGED = "none"
"""The condition of images of the task."""


def code_lengths_of_transforms(outcomes: Outcomes) -> list[Measured]:
    """Return the code lengths of the subset of test images, as they are and after each of `TRANSFORMS`.

    Returns:
        The column score, under the condition out_of_distribution: the name of the transform, or `UNCHANGED`.
    """
    rows = subset_rows(outcomes.ids)
    images, count = inputs_at(outcomes, rows), len(outcomes.ids)
    changed = {UNCHANGED: images, **{name: transform(images) for name, transform in TRANSFORMS.items()}}
    return [
        Measured(
            {"score": spread(code_lengths(outcomes.model, made), rows, count)}, params={"out_of_distribution": name}
        )
        for name, made in changed.items()
    ]


def out_of_distribution_measures(table: Table) -> list[Measure]:
    """Return the AUROC of the code length as a detector of out-of-distribution images, for each of `TRANSFORMS`."""
    own = table.at(out_of_distribution=UNCHANGED)["score"]
    names = [condition["out_of_distribution"] for condition in table.conditions("score")]
    return [_auroc(table.at(out_of_distribution=name), own) for name in names if name != UNCHANGED]


def _auroc(table: Table, own: Array) -> Measure:
    others, rows, params = table["score"], known_rows(table, "score"), {"score": losses.CODE_LENGTH.name}
    if not len(rows):
        return table.undefined(AUROC, "none of these images belongs to the subset with code lengths", params=params)
    wins = with_imagined(pairwise_wins(others[rows], own[rows]))
    return table.resampled(AUROC, partial(auroc, wins), len(rows), rows=rows, added=WORST_AND_BEST, params=params)


def code_lengths(model: Any, images: Tensor) -> Array:
    """Return the code length of each image in bits per dimension, (n,)."""
    with model.frozen(), torch.no_grad():
        parts = [losses.code_length(model(batch).double(), batch) for batch in torch.split(images, model.width)]
    return np.asarray(torch.cat(parts).cpu().numpy())


def pairwise_wins(others: Array, in_distribution: Array) -> Array:
    """Return whether the code of each other image (rows) is longer than that of each image (columns), half for ties."""
    return np.asarray((np.sign(others[:, None] - in_distribution[None]) + 1) / 2)


def with_imagined(wins: Array) -> Array:
    """Return pairwise wins (n, n) with two more images, (n + 2, n + 2): one that loses every pair, one that wins."""
    lost = np.pad(wins, (0, 1))
    return np.pad(lost, (0, 1), constant_values=1)


def auroc(wins: Array, counts: Array | None = None) -> Array:
    """Return the fraction of pairs (n, n) in which the other image has the longer code, for each resample, (r,)."""
    weights = drawn(counts, len(wins))
    return np.asarray(((weights @ wins) * weights).sum(axis=1) / weights.sum(axis=1) ** 2)
