"""Whether an autoencoder's code length tells images of the task from others: it need not (Nalisnick et al. 2019).

The others are made of the task's own images, so that nothing has to be at hand: left and right swapped, black and
white swapped, pixels shuffled by one permutation, and nothing but black. A density can be high where no image of the
task lies; black images are simple, and many models of digits take them for the likeliest of all.
"""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from suite.kinds.autoencoding import losses
from suite.kinds.autoencoding.evidence import chosen
from suite.kinds.base import Array, Outcomes
from suite.metrics.stats import drawn, resampled
from suite.models.base import BATCH_MULTIPLE
from suite.types import Measure


def shuffled(images: Tensor) -> Tensor:
    """Return images with their places permuted, the same way in all, channels together."""
    flat = images.flatten(2)
    order = np.random.default_rng(0).permutation(flat.shape[2])
    return flat[:, :, torch.from_numpy(order).to(images.device)].view_as(images)


STRANGERS: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {
        "mirrored": lambda images: images.flip(3),
        "inverted": lambda images: 1 - images,
        "shuffled": shuffled,
        "black": torch.zeros_like,
    }
)
"""What is made of the task's images, by name."""


def stranger_measures(outcomes: Outcomes) -> list[Measure]:
    """Return how often a stranger has the longer code than an image of the task, for each way to make strangers."""
    rows = chosen(outcomes)
    images = outcomes.inputs[torch.tensor(rows, device=outcomes.inputs.device)]
    own = lengths(outcomes.model, images)
    measures = []
    for name, made in STRANGERS.items():
        beats = longer(lengths(outcomes.model, made(images)), own)
        fields: dict[str, Any] = {
            "seed": outcomes.seed,
            "params": {"out_of_distribution": name, "score": "code_length"},
        }
        measures.append(resampled("out_of_distribution_auroc", partial(beaten, beats), len(rows), **fields))
    return measures


def lengths(model: Any, images: Tensor) -> Array:
    """Return the code length of each image in bits per dimension, (n,)."""
    with model.frozen(), torch.no_grad():
        parts = [losses.code_length(model(few).double(), few) for few in torch.split(images, BATCH_MULTIPLE)]
    return np.asarray(torch.cat(parts).cpu().numpy())


def longer(strangers: Array, own: Array) -> Array:
    """Return for each stranger (rows) and image (columns) whether its code is longer, (n, n), half where equal."""
    return np.asarray((np.sign(strangers[:, None] - own[None]) + 1) / 2)


def beaten(beats: Array, counts: Array | None = None) -> Array:
    """Return the share of pairs in which the stranger's code is longer, for each resample of images, (r,)."""
    weights = drawn(counts, len(beats))
    return np.asarray(((weights @ beats) * weights).sum(axis=1) / weights.sum(axis=1) ** 2)
