"""The gallery of a generator: its images, interpolations, and the nearest training images."""

import numpy as np
from torch import Tensor

from suite.kinds.base import Array, Outcomes
from suite.metrics.generation import nearest
from suite.types import Display

GENERATED, ROWS, STEPS, PAIRS = 64, 6, 10, 12
"""Generated images, interpolations, images per interpolation, and generated images with their nearest neighbors."""


def as_bytes(images: Array) -> Array:
    """Return images in [0, 1] as uint8."""
    return np.asarray(np.rint(np.asarray(images, np.float64).clip(0, 1) * 255), np.uint8)


def gallery(outcomes: Outcomes) -> dict[str, Display]:
    """Return uint8 arrays of the images of the first latents.

    Returns:
        ``generated`` (n, c, h, w); ``interpolated`` (rows, steps, c, h, w), both ends included; ``nearest``
        (pairs, 2, c, h, w), a generated image and the training image nearest to it in pixels.
    """
    generated, train = np.asarray(outcomes.output[:GENERATED], np.float64), outcomes.data.train
    arrays = {"generated": generated}
    if len(lines := interpolations(outcomes, ROWS, STEPS)):
        arrays["interpolated"] = lines.cpu().numpy()
    if len(train):
        images, few = train.pixels(), generated[:PAIRS]
        index, _ = nearest(few.reshape(len(few), -1), images.reshape(len(images), -1))
        arrays["nearest"] = np.stack([few, images[index]], axis=1)
    return {name: Display(as_bytes(values), "image", name, per_sample=False) for name, values in arrays.items()}


def interpolations(outcomes: Outcomes, count: int, steps: int) -> Tensor:
    """Return images along lines between consecutive test latents, (lines, steps, c, h, w)."""
    latents = outcomes.inputs
    count = min(count, len(latents) - 1)
    images: Tensor = outcomes.model.interpolate(latents[:count], latents[1 : count + 1], steps)
    return images
