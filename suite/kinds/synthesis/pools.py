"""The images that the quality of samples is measured on: generated, held-out real, and further real ones."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from suite.data import TaskData
from suite.errors import ModelError
from suite.kinds.base import Array
from suite.kinds.synthesis.judge import judge_of
from suite.metrics.generation import nearest
from suite.metrics.table import Measured

GENERATED, REAL, CONTROL = "generated", "real", "control"
"""The populations that are compared."""

MOST = 1000
"""Maximum number of images of each set."""

NEAREST = 0.01
"""Fraction of test images that are, by definition, as near to a training image as a memorized image."""


@dataclass(frozen=True)
class Pools:
    """The images that are compared.

    Attributes:
        generated: finite generated images, (m, c, h, w) in [0, 1].
        real: as many images of the test split.
        control: as many real images of the validation split, then of the training split; fewer if these run out.
        n_failed: number of generated images that are not finite.
    """

    generated: Tensor
    real: Tensor
    control: Tensor
    n_failed: int


def sample_pools(data: TaskData, images: Tensor) -> list[Measured]:
    """Return what `suite.kinds.synthesis.quality.quality_measures` needs of generated images.

    Args:
        data: the task's samples.
        images: generated, (m, c, h, w) in [0, 1]; non-finite images are dropped and counted.

    Returns:
        The judge's ``features`` (k, features) of the populations generated, real and control; of the first two also
        the distance to the nearest training image, ``nearest_pixels`` and ``nearest_features``, (k,).

    Raises:
        ModelError: images of another shape than the task's, or outside [0, 1].
        NotApplicableError: a judge cannot be trained for the task.
    """
    pools = _pools(data, images)
    judge = judge_of(data.train)
    embedded = {name: judge.features_of(getattr(pools, name)) for name in (GENERATED, REAL, CONTROL)}
    columns: dict[str, dict[str, Array]]
    columns = {name: {"features": features.astype(np.float32)} for name, features in embedded.items()}  # are float32
    if len(pools.generated) and len(pools.real) >= 1 / NEAREST:
        train = data.train.pixels()
        train_features = judge.features_of(train)
        for name in (GENERATED, REAL):
            columns[name]["nearest_pixels"] = nearest(_flat(getattr(pools, name).numpy()), _flat(train))[1]
            columns[name]["nearest_features"] = nearest(embedded[name], train_features)[1]
    facts = {"judge": judge.learned, "not_finite": pools.n_failed}
    return [Measured(values, facts, name) for name, values in columns.items()]


def _pools(data: TaskData, images: Tensor) -> Pools:
    images = images.detach().float().cpu()
    if images.ndim != 4 or tuple(images.shape[1:]) != tuple(data.info.input_shape):
        raise ModelError(
            f"The generated images are {tuple(images.shape)}; expected the number of images and the task's shape "
            f"{tuple(data.info.input_shape)}."
        )
    finite = torch.isfinite(images).flatten(1).all(dim=1)
    valid = images[finite]
    if len(valid) and (float(valid.min()) < -1e-4 or float(valid.max()) > 1 + 1e-4):
        raise ModelError(
            f"The generated images have pixels from {float(valid.min()):g} to {float(valid.max()):g}; expected 0 to 1. "
            "Map the range of the last layer, as (x + 1) / 2 does for tanh."
        )
    count = min(len(valid), len(data.test), MOST)
    held_out, rest = data.validation.few(count), data.train.few(max(0, count - len(data.validation)))
    control = np.concatenate([held_out.pixels(), rest.pixels()]) if len(rest) else held_out.pixels()
    real = torch.from_numpy(data.test.few(count).pixels())
    spaced = torch.arange(count) * len(valid) // max(1, count)  # not the first ones: images may be sorted
    return Pools(valid[spaced].clamp(0, 1), real, torch.from_numpy(control), int((~finite).sum()))


def _flat(images: Array) -> Array:
    return images.reshape(len(images), -1)
