"""What a page shows of a generator: its images, the ways between them, and the real ones they may be copies of."""

import numpy as np

from suite.kinds.base import Array, Outcomes
from suite.metrics.generation import nearest

GENERATED, ROWS, STEPS, PAIRS = 64, 6, 10, 12
"""Images of the grid, lines between latents, images along each, and pairs of a generated image and a real one."""


def as_bytes(images: Array) -> Array:
    """Return images in [0, 1] as uint8."""
    return np.asarray(np.rint(np.asarray(images, np.float64).clip(0, 1) * 255), np.uint8)


def gallery(outcomes: Outcomes) -> dict[str, Array]:
    """Return uint8 arrays of the images of the first latents.

    Returns:
        ``generated`` (n, c, h, w); ``interpolated`` (rows, steps, c, h, w), both ends included; ``nearest``
        (pairs, 2, c, h, w), a generated image and the training image nearest to it in pixels.
    """
    made, latents = np.asarray(outcomes.output[:GENERATED], np.float64), outcomes.inputs
    rows = min(ROWS, len(latents) - 1)
    lines = outcomes.model.interpolate(latents[:rows], latents[1 : rows + 1], STEPS) if rows > 0 else None
    shown = {"generated": as_bytes(made)}
    if lines is not None:
        shown["interpolated"] = as_bytes(lines.cpu().numpy())
    if len(outcomes.data.train):
        learnt, few = outcomes.data.train.pixels(), made[:PAIRS]
        place, _ = nearest(few.reshape(len(few), -1), learnt.reshape(len(learnt), -1))
        shown["nearest"] = as_bytes(np.stack([few, learnt[place]], axis=1))
    return shown
